import test from 'ava';
import {formatShared, listImports} from '../../build/seldom-plugins.ts';

const source = `import {readFileSync} from 'node:fs';
import * as z from 'zod/mini';
import {
  one,
  type Kind,
  two as second,
} from '../../lib/some.ts';
import type {Other} from '../../lib/some.ts';
import {three} from '../../lib/some.tsx';
export const shape = z.object({a: z.optional(z.string())});
type Shape = z.infer<typeof shape>;
`;

test('what a source uses of a module', (t) => {
  t.deepEqual(listImports(source, '../../lib/some.ts'), ['one', 'two']);
  t.deepEqual(new Set(listImports(source, 'zod/mini')), new Set(['object', 'optional', 'string', 'infer']));
  t.deepEqual(listImports(source, '../../lib/other.ts'), []);
});

test('what is shared, each name once and in an order that does not depend on who asks first', (t) => {
  const [one, other] = [
    new Map([
      ['lib/b.ts', new Set(['y', 'x'])],
      ['zod/mini', new Set(['object'])],
    ]),
    new Map([['lib/b.ts', new Set(['x', 'z'])]]),
  ];
  const text = formatShared([one, other]);
  t.is(
    text,
    `import {x as x_0,y as y_0,z as z_0} from "./lib/b.ts";
import {object as object_1} from "zod/mini";
export const shared = {"lib/b.ts": {x: x_0,y: y_0,z: z_0},
"zod/mini": {object: object_1}};`,
  );
  t.is(formatShared([other, one]), text);
});
