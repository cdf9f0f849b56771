import test from 'ava';
import {chooseAddress} from '../../../agent/registry/addresses.ts';
import {parseDefinition, type DefinitionContext} from '../../../agent/registry/definition.ts';
import {RegistryError} from '../../../agent/registry/registration.ts';
import type {Json} from '../../../lib/cni/types.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';

const range = (text: string) => parseCidr(text)!;

test('an address is the same wherever it is chosen, and nobody else has it', (t) => {
  const first = chooseAddress(range('10.96.0.0/16'), 'default/shop', new Set())!;
  t.is(chooseAddress(range('10.96.0.0/16'), 'default/shop', new Set()), first);
  const second = chooseAddress(range('10.96.0.0/16'), 'default/shop', new Set([first]));
  t.not(second, first);
  t.regex(first, /^10\.96\./);
  t.regex(chooseAddress(range('fd00:96::/112'), 'default/shop', new Set())!, /^fd00:96::/);
});

test('a small range is used up, without its first and last address', (t) => {
  const taken = new Set<string>();
  for (let i = 0; i < 6; i++) taken.add(chooseAddress(range('192.0.2.0/29'), `default/s${i}`, taken)!);
  t.deepEqual(
    [...taken].toSorted(),
    [1, 2, 3, 4, 5, 6].map((i) => `192.0.2.${i}`),
  );
  t.is(chooseAddress(range('192.0.2.0/29'), 'default/s7', taken), undefined);
  t.is(chooseAddress(range('192.0.2.0/31'), 'default/s7', new Set()), undefined);
});

const context: DefinitionContext = {
  namespace: 'default',
  name: 'shop',
  ranges: [range('10.96.0.0/16'), range('fd00:96::/112')],
  before: undefined,
  taken: new Set(['10.96.0.9']),
};
const define = (json: Json, more: Partial<DefinitionContext> = {}) =>
  parseDefinition(json, {...context, ...more});

test('a service gets addresses and keeps them', (t) => {
  const first = define({ports: [{port: 80, targetPort: 8080}]});
  t.is(first.addresses.length, 2);
  t.like(first, {
    key: 'default/shop',
    policy: 'roundRobin',
    stickySeconds: 0,
    ttl: 5,
    ports: [{protocol: 'tcp', port: 80, targetPort: 8080}],
  });
  const again = define(
    {ports: [{port: 81}], policy: 'random'},
    {before: first, taken: new Set(first.addresses)},
  );
  t.deepEqual(again.addresses, first.addresses);
  t.deepEqual(define({address: 'none'}).addresses, []);
  t.deepEqual(define({address: '10.96.0.7', ports: [{port: 80}]}).addresses, ['10.96.0.7']);
});

const refuses = test.macro({
  title: (_, json: Json) => `refuses ${JSON.stringify(json)}`,
  exec(t, json: Json, code: number, message: RegExp) {
    t.is(t.throws(() => define(json), {instanceOf: RegistryError, message})?.code, code);
  },
});

test(refuses, {}, 400, /"ports": a service with an address needs at least one/);
test(refuses, {address: '10.96.0.9', ports: [{port: 80}]}, 409, /10\.96\.0\.9 belongs to another service/);
test(refuses, {address: ['10.96.0.7', '10.96.0.8'], ports: [{port: 80}]}, 400, /at most one of each family/);
test(refuses, {address: 'x', ports: [{port: 80}]}, 400, /"x" is no address/);
test(refuses, {address: 'none', policy: 'best'}, 400, /policy/);
test(refuses, {address: 'none', sourceRanges: ['x']}, 400, /"sourceRanges": "x" is no range/);
