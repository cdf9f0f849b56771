import {readFileSync} from 'node:fs';
import test from 'ava';
import type {ServiceDefinition, ServiceInstance} from '../../../agent/catalog/model.ts';
import {planBase, planChanges} from '../../../agent/services/changes.ts';
import {planFrontends} from '../../../agent/services/frontend.ts';
import {planLocals} from '../../../agent/services/locals.ts';
import {planFrontend} from '../../../agent/services/ruleset.ts';
import {LatencyWeights} from '../../../agent/services/weights.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';

const service: ServiceDefinition = {
  key: 'default/shop',
  namespace: 'default',
  name: 'shop',
  addresses: ['10.96.0.7', 'fd00:96::7'],
  ports: [{name: 'http', protocol: 'tcp', port: 80, targetPort: 8080}],
  policy: 'roundRobin',
  stickySeconds: 0,
  ttl: 5,
};

const instance = (id: string, address: string, more: Partial<ServiceInstance> = {}): ServiceInstance => ({
  key: `default/${id}@node-a`,
  node: 'node-a',
  namespace: 'default',
  name: 'shop',
  id,
  address,
  port: 8080,
  protocol: 'tcp',
  tags: [],
  meta: {},
  weight: 1,
  health: 'passing',
  draining: false,
  ...more,
});

const instances = [instance('a', '10.1.0.5'), instance('b', '10.1.0.6'), instance('c', 'fd00:1::5')];
const golden = (name: string) => readFileSync(new URL(`../../fixtures/${name}.txt`, import.meta.url), 'utf8');
const textOf = (operations: readonly {text(): string}[]) => operations.map((each) => each.text());
/** Hashes are numbered in the order in which they occur. */
function tidy(lines: readonly string[]): string[] {
  const seen: string[] = [];
  return lines.map((line) =>
    line
      .replaceAll(/0x[0-9a-f]{8} \. 0x[0-9a-f]{8}|0x[0-9a-f]{16}/g, 'ID')
      .replaceAll(/slots4-[0-9a-f]{2}/g, 'slots4')
      .replaceAll(/\b[0-9a-f]{16}\b/g, (hash) => {
        if (!seen.includes(hash)) seen.push(hash);
        return `#${seen.indexOf(hash) + 1}`;
      }),
  );
}

test('the whole table without services', (t) => {
  t.is(`${textOf(planBase({isThere: false})).join('\n')}\n`, golden('services-base'));
});

test('a service of two families is two frontends', (t) => {
  const [four, six] = planFrontends(service, instances);
  t.deepEqual([four?.key, six?.key], ['10.96.0.7 tcp 80', 'fd00:96::7 tcp 80']);
  const {additions, removals} = planChanges([{before: undefined, after: planFrontend(four!)}]);
  t.deepEqual(tidy(textOf(additions)), [
    'add map inet weft-services slots4 { type mark . mark . mark : ipv4_addr . inet_service ; }',
    'create element inet weft-services slots4 { ID . 0x00000000 : 10.1.0.5 . 8080, ID . 0x00000001 : 10.1.0.6 . 8080 }',
    'create chain inet weft-services to-#1',
    'add rule inet weft-services to-#1 meta l4proto tcp meta nfproto ipv4 dnat ip to ID . numgen inc mod 2 map @slots4',
    'create element inet weft-services frontends4 { 10.96.0.7 . 6 . 80 comment "default/shop" : goto to-#1 }',
  ]);
  t.deepEqual(removals, []);
  t.deepEqual(six?.targets, [{address: 'fd00:1::5', port: 8080, weight: 1}]);
});

test('a change touches what changed, in one transaction', (t) => {
  const [before] = planFrontends(service, instances);
  const [after] = planFrontends(service, [...instances, instance('d', '10.1.0.7')]);
  const {additions, removals} = planChanges([{before: planFrontend(before!), after: planFrontend(after!)}]);
  t.deepEqual(tidy(textOf([...additions, ...removals])), [
    'add map inet weft-services slots4 { type mark . mark . mark : ipv4_addr . inet_service ; }',
    'create element inet weft-services slots4 { ID . 0x00000000 : 10.1.0.5 . 8080, ID . 0x00000001 : 10.1.0.6 . 8080, ID . 0x00000002 : 10.1.0.7 . 8080 }',
    'create chain inet weft-services to-#1',
    'add rule inet weft-services to-#1 meta l4proto tcp meta nfproto ipv4 dnat ip to ID . numgen inc mod 3 map @slots4',
    'delete element inet weft-services frontends4 { 10.96.0.7 . 6 . 80 }',
    'create element inet weft-services frontends4 { 10.96.0.7 . 6 . 80 comment "default/shop" : goto to-#1 }',
    'delete chain inet weft-services to-#2',
    'delete element inet weft-services slots4 { ID . 0x00000000, ID . 0x00000001 }',
  ]);
  const same = planChanges([{before: planFrontend(before!), after: planFrontend(before!)}]);
  t.deepEqual([...same.additions, ...same.removals], []);
});

test('without an instance that is well connections are refused', (t) => {
  for (const more of [{health: 'critical'}, {draining: true}, {weight: 0}] as const) {
    const [frontend] = planFrontends(service, [instance('a', '10.1.0.5', more)]);
    const {additions} = planChanges([{before: undefined, after: planFrontend(frontend!)}]);
    t.deepEqual(textOf(additions), [
      'create element inet weft-services guards4 { 10.96.0.7 . 6 . 80 comment "default/shop" : goto reject }',
    ]);
  }
});

test('limits, sources and clients that stay', (t) => {
  const [frontend] = planFrontends(
    {
      ...service,
      policy: 'sourceHash',
      stickySeconds: 600,
      limit: 1000,
      limitPerSource: 10,
      sourceRanges: ['10.0.0.0/8', 'fd00::/8'],
    },
    instances,
  );
  const {additions} = planChanges([{before: undefined, after: planFrontend(frontend!)}]);
  const text = tidy(textOf(additions)).join('\n');
  t.is(`${text.replaceAll(/ \{ ID \. 0x00000000 : .* \}/g, ' { ... }')}\n`, golden('services-limits'));
});

test('instances beside their clients hide them, or only themselves where bridges are tracked', (t) => {
  const subnets = ['10.1.0.0/24', 'fd00:1::/64'].map((text) => parseCidr(text)!);
  const chains = (bridgesAreTracked: boolean) =>
    planLocals(['10.1.0.5', '10.2.0.5', 'fd00:1::5'], {subnets, bridgesAreTracked}).map(
      ({chain}) => chain.chain,
    );
  t.deepEqual(chains(false), ['from-10.1.0.0/24', 'from-fd00_1__/64']);
  t.deepEqual(chains(true), ['from-10.1.0.5/32', 'from-fd00_1__5/128']);
});

test('weights follow latencies, but not their noise', (t) => {
  const weights = new LatencyWeights();
  const of = (a: number, b: number) => [
    instance('a', '10.1.0.5', {latencyMs: a}),
    instance('b', '10.1.0.6', {latencyMs: b}),
  ];
  const read = () => of(0, 0).map((each) => weights.weightOf(each));
  t.true(weights.update(of(9, 39)));
  t.deepEqual(read(), [100, 25]);
  t.false(weights.update(of(9.5, 42)));
  t.true(weights.update(of(39, 9)));
  t.deepEqual(read(), [25, 100]);
  // Less than a millisecond is the agent's own.
  const quick = new LatencyWeights();
  quick.update(of(0.2, 0.4));
  t.false(quick.update(of(0.4, 0.2)));
  t.false(new LatencyWeights().update([instance('a', '10.1.0.5')]));
});
