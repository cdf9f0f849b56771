import test from 'ava';
import {makeEager, reachableName} from '../../build/eager.ts';

const listed = ['add', 'table', 'Some.method', 'Some.#hidden', 'Some.value'];

/** What becomes of a line. */
for (const [before, after] of [
  [
    'export function add(a: number) { return [1].map((b) => a + b); }',
    'export function add(a: number) { return [1].map(((b) => a + b)); }',
  ],
  ['function other() { return () => 1; }', undefined],
  ['const add = (a) => (b) => a + b;', 'const add = (a) => ((b) => a + b);'],
  [
    'export async function add() { await go(async () => {}, function () {}); }',
    'export async function add() { await go(async () => {}, (function () {})); }',
  ],
  [
    'function add() { return {get: () => 1, put() { return () => 2; }, get size() { return 3; }}; }',
    'function add() { return {get: (() => 1), put() { return (() => 2); }, get size() { return 3; }}; }',
  ],
  [
    'class Some { method() { return () => this.#own(); } #own() { return () => 1; } }',
    'class Some { method() { return (() => this.#own()); } #own() { return () => 1; } }',
  ],
  [
    'class Some { #hidden() { return 1; } method() { return this.#hidden(); } #field = 2; }',
    'class Some { _hidden() { return 1; } method() { return this._hidden(); } #field = 2; }',
  ],
  [
    'class Some { get value() { return () => 1; } get rest() { return () => 1; } }',
    'class Some { get value() { return (() => 1); } get rest() { return () => 1; } }',
  ],
  ['class Other { #hidden() { return () => 1; } }', undefined],
  ['const table = {get: () => 1};', undefined],
] as const)
  test(before, (t) => {
    t.is(makeEager('file.ts', before, listed), after ?? before);
  });

for (const [why, source] of [
  ['extends another class', 'class Some extends Base { #hidden() { return 1; } }'],
  ['has the name _hidden', 'class Some { #hidden() { return 1; } _hidden = 2; }'],
  [
    'asks with "in" for a private name',
    'class Some { #hidden() { return 1; } is(o) { return #hidden in o; } }',
  ],
  ['cannot be parsed', 'class Some {'],
] as const)
  test(`not where it ${why}`, (t) => {
    t.throws(() => makeEager('file.ts', source, listed), {message: new RegExp(why)});
  });

test('a private method is reached by another name', (t) => {
  t.is(reachableName('Some.#hidden'), 'Some._hidden');
  t.is(reachableName('Some.method'), 'Some.method');
});
