import test from 'ava';
import * as z from 'zod/mini';
import {parseArgs} from '../../../lib/cni/args.ts';
import {validAttachments} from '../../../lib/cni/attachments.ts';
import {parseConf} from '../../../lib/cni/conf.ts';
import {errorCodes} from '../../../lib/cni/error.ts';
import {cidrField, dnsField, ipField, macField, routeField} from '../../../lib/cni/fields.ts';
import {findPrevResult} from '../../../lib/cni/result.ts';
import type {Call} from '../../../lib/cni/plugin.ts';
import {chooseSeed, makeRandom, type Random} from '../../../integration/harness/random.ts';
import {emptyResult, environment, fakePlugin, run} from './helpers.ts';

// WEFT_FUZZ_SEED=<printed seed> repeats a run.
const seed = chooseSeed();
const mutations = 5000;

const schema = z.object({
  bridge: z._default(z.string(), 'cni0'),
  mtu: z.optional(z.int()),
  mac: z.optional(macField),
  vlanTrunk: z.optional(z.array(z.object({id: z.optional(z.int())}))),
  dns: z.optional(dnsField),
  sysctl: z.optional(z.record(z.string(), z.string())),
  ipam: z.optional(
    z.object({
      type: z.optional(z.string()),
      ranges: z.optional(z.array(z.array(z.object({subnet: cidrField, gateway: z.optional(ipField)})))),
      routes: z.optional(z.array(routeField)),
    }),
  ),
});

/** Does all that plugins do with a call, short of the kernel. */
function useAll(call: Call) {
  parseConf(call, schema);
  parseArgs(call.args, ['IP']);
  return findPrevResult(call) ?? emptyResult;
}

const plugin = {
  ...fakePlugin(),
  add: async (call: Call) => useAll(call),
  del: async (call: Call) => void useAll(call),
  check: async (call: Call) => void useAll(call),
  gc: async (call: Call) => void validAttachments(call),
  status: async (call: Call) => void useAll(call),
};

const original = JSON.stringify({
  cniVersion: '1.1.0',
  name: 'net1',
  type: 'bridge',
  bridge: 'cni0',
  mtu: 1500,
  mac: 'aa:bb:cc:dd:ee:ff',
  vlanTrunk: [{id: 5}, {minID: 1, maxID: 9}],
  sysctl: {'net.core.somaxconn': '5'},
  dns: {nameservers: ['10.0.0.1'], search: []},
  ipam: {
    type: 'host-local',
    ranges: [[{subnet: '10.0.0.0/24', gateway: '10.0.0.1'}]],
    routes: [{dst: '::/0', gw: '::1'}],
  },
  capabilities: {mac: true},
  runtimeConfig: {mac: 'x'},
  'cni.dev/valid-attachments': [{containerID: 'a', ifname: 'eth0'}],
  prevResult: {
    cniVersion: '1.1.0',
    interfaces: [{name: 'eth0', mac: 'aa:bb:cc:dd:ee:ff', sandbox: '/x'}],
    ips: [{interface: 0, address: '10.0.0.2/24', gateway: '10.0.0.1'}],
    routes: [{dst: '0.0.0.0/0', mtu: 1400}],
    dns: {},
  },
});

const words = [
  '',
  'x',
  '"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  'null',
  'true',
  '-1',
  '1e999',
  '0.5',
  '\u0000',
  '\ud800',
  '\u2028',
];
const values: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 40,
  '',
  'x',
  '10.0.0.0/33',
  '::',
  [],
  [[]],
  [null],
  {},
  {'': null},
  'x'.repeat(5000),
  '0.1.0',
  '0.2.0',
  '0.4.0',
  '1.0.0',
  '9.9.9',
];

function mutateText(text: string, random: Random): string {
  const at = random.below(text.length + 1);
  const cut = random.below(3) === 0 ? random.below(40) : 0;
  return text.slice(0, at) + random.pick(words) + text.slice(at + cut);
}

/** Replaces, removes, renames or nests one member anywhere in the document. */
function mutateTree(node: unknown, random: Random): unknown {
  if (node === null || typeof node !== 'object' || random.below(6) === 0) return random.pick(values);
  const copy = structuredClone(node) as Record<string, unknown>;
  const keys = Object.keys(copy);
  if (keys.length === 0) return copy;
  const key = random.pick(keys);
  const action = random.below(5);
  if (action === 0 && !Array.isArray(copy)) delete copy[key];
  else if (action === 1)
    copy[random.pick([key.toUpperCase(), `${key}x`, '__proto__', 'constructor', 'toString'])] = copy[key];
  else copy[key] = mutateTree(copy[key], random);
  return copy;
}

function mutateEnv(random: Random): Record<string, string | undefined> {
  const names = [
    'CNI_CONTAINERID',
    'CNI_NETNS',
    'CNI_IFNAME',
    'CNI_ARGS',
    'CNI_PATH',
    'CNI_NETNS_OVERRIDE',
    'CNI_COMMAND',
  ];
  const odd = [
    '',
    '.',
    '..',
    '/',
    'a/b',
    'a b',
    '\u0000',
    '\n',
    'IP=x',
    'IP=;;',
    '=',
    'é'.repeat(9),
    'x'.repeat(9999),
    undefined,
  ];
  const env = environment({
    CNI_COMMAND: random.pick(['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'FOO']),
  });
  return random.below(3) > 0 ? env : {...env, [random.pick(names)]: random.pick(odd)};
}

const known: ReadonlySet<number> = new Set(Object.values(errorCodes));

test(`${mutations} mutated calls give a result or a known error (seed ${seed})`, async (t) => {
  t.log(`seed ${seed}`);
  const random = makeRandom(seed);
  const seen = new Map<number, number>();
  for (let i = 0; i < mutations; i++) {
    let stdin = original;
    for (let n = random.below(4); n > 0; n--) stdin = JSON.stringify(mutateTree(JSON.parse(stdin), random));
    if (random.below(3) === 0) stdin = mutateText(stdin, random);
    const env = mutateEnv(random);
    const started = performance.now();
    const {code, stdout} = await run(plugin, {env, stdin});
    const context = `seed ${seed}, mutation ${i}: ${JSON.stringify({env, stdin, stdout})}`;
    if (performance.now() - started > 10_000) t.fail(`slow: ${context}`);
    if (/\n {4}at |TypeError|RangeError|is not a function|undefined/.test(stdout))
      t.fail(`not for users: ${context}`);
    const printed = (stdout === '' ? {} : JSON.parse(stdout)) as {code?: number; msg?: string};
    const outcome = code === 0 ? 0 : (printed.code ?? -1);
    seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
    if (code === 0 ? printed.code !== undefined : !known.has(outcome) || !printed.msg) t.fail(context);
  }
  t.log(`outcomes: ${[...seen].map(([code, count]) => `${code} × ${count}`).join(', ')}`);
  // The mutations are of use only if they reach the verbs as well as every stage before them.
  for (const outcome of [0, 1, 4, 6, 7]) t.true((seen.get(outcome) ?? 0) > 10, `outcome ${outcome}`);
});
