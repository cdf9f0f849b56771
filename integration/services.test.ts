import type {ExecutionContext} from 'ava';
import {attach, type Attached} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {ask, serve, type Question} from './harness/ports.ts';
import {makeInstance, makeService, startServices} from './harness/services.ts';

const test = testWith('root');

/** Three instances and a client on one bridge. */
async function makeShop(t: ExecutionContext, {tracked = true} = {}) {
  const host = await makeHost(t);
  // Whether frames between ports of a bridge pass connection tracking.
  await host.sh(`echo ${tracked ? 1 : 0} > /proc/sys/net/bridge/bridge-nf-call-iptables`, {mayFail: true});
  await host.sh(`echo ${tracked ? 1 : 0} > /proc/sys/net/bridge/bridge-nf-call-ip6tables`, {mayFail: true});
  const conf = bridgeNetwork({
    name: 'shop-net',
    isGateway: true,
    isDefaultGateway: true,
    hairpinMode: true,
    ipam: {type: 'host-local', ranges: [[{subnet: '10.71.0.0/24'}], [{subnet: 'fd00:71::/64'}]]},
  });
  const pods: Record<string, Attached> = {};
  for (const name of ['a', 'b', 'c', 'client']) {
    pods[name] = await attach(host, name, conf);
    if (name !== 'client') await serve(host, name, name, 8080);
  }
  const at = (name: string, family: 4 | 6 = 4) => pods[name]!.addresses[family === 4 ? 0 : 1]!;
  const instances = ['a', 'b', 'c'].map((name) => makeInstance(name, at(name)));
  return {host, at, instances, services: await startServices(host)};
}

const vip = '10.96.0.7';

/** How often each answers, of so many connections. */
async function countAnswers(
  host: TestHost,
  from: string | undefined,
  count: number,
  question: Partial<Question> = {},
): Promise<Record<string, number>> {
  const questions = Array.from({length: count}, () => ({address: vip, port: 80, ...question}));
  const counts: Record<string, number> = {};
  for (const answer of await ask(host, from, ...questions)) {
    const name = answer.split(' ')[0]!;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

test('connections go round, from containers and from the host, over TCP and UDP', async (t) => {
  const {host, instances, services} = await makeShop(t);
  await services.set([makeService()], instances);
  t.deepEqual(await countAnswers(host, 'client', 120), {a: 40, b: 40, c: 40});
  t.deepEqual(await countAnswers(host, undefined, 30), {a: 10, b: 10, c: 10});
  t.deepEqual(await countAnswers(host, 'client', 30, {protocol: 'udp'}), {a: 10, b: 10, c: 10});
  // Of six, two are its own: an instance reaches itself.
  t.deepEqual(await countAnswers(host, 'a', 6), {a: 2, b: 2, c: 2});
});

test('where frames between ports are not tracked clients are hidden, and answered', async (t) => {
  const {host, instances, services} = await makeShop(t, {tracked: false});
  await services.set([makeService()], instances);
  t.deepEqual(await countAnswers(host, 'client', 6), {a: 2, b: 2, c: 2});
  t.deepEqual(await countAnswers(host, 'b', 6), {a: 2, b: 2, c: 2});
});

test('at random and by weight: within what chance allows', async (t) => {
  const {host, at, services} = await makeShop(t);
  const weighted = [5, 3, 2].map((weight, i) => {
    const name = 'abc'[i]!;
    return makeInstance(name, at(name), {weight});
  });
  await services.set([makeService({policy: 'random'})], weighted);
  const counts = await countAnswers(host, 'client', 600);
  // Chi-square with two degrees of freedom: 23 is passed once in a hundred thousand.
  const squares = ['a', 'b', 'c'].map((name) => ((counts[name] ?? 0) - 200) ** 2 / 200);
  t.true(squares.reduce((sum, each) => sum + each) < 23, JSON.stringify(counts));
  await services.set([makeService({policy: 'weighted'})], weighted);
  t.deepEqual(await countAnswers(host, 'client', 100), {a: 50, b: 30, c: 20});
});

test('a source stays where its hash leads, or where it once was', async (t) => {
  const {host, instances, services} = await makeShop(t);
  await services.set([makeService({policy: 'sourceHash'})], instances);
  t.is(Object.keys(await countAnswers(host, 'client', 30)).length, 1);
  await services.set([makeService({stickySeconds: 300})], instances);
  const [kept = ''] = Object.keys(await countAnswers(host, 'client', 30));
  t.deepEqual(await countAnswers(host, 'client', 30), {[kept]: 30});
  // Others come and go; it stays. When its own goes, it gets another.
  await services.set([makeService({stickySeconds: 300})], [...instances, makeInstance('d', '10.71.0.99')]);
  t.deepEqual(await countAnswers(host, 'client', 10), {[kept]: 10});
  await services.set(
    [makeService({stickySeconds: 300})],
    instances.filter(({id}) => id !== kept),
  );
  const after = await countAnswers(host, 'client', 10);
  t.is(Object.keys(after).length, 1);
  t.false(kept in after);
});

test('drained and sick instances get nothing new; without any, connections are refused at once', async (t) => {
  const {host, at, instances, services} = await makeShop(t);
  const [a, b, c] = instances as [(typeof instances)[0], (typeof instances)[0], (typeof instances)[0]];
  await services.set([makeService()], [a, {...b, draining: true}, {...c, health: 'critical'}]);
  t.deepEqual(await countAnswers(host, 'client', 10), {a: 10});
  await services.set([makeService()], []);
  t.deepEqual(await countAnswers(host, 'client', 3), {ECONNREFUSED: 3});
  t.deepEqual(await countAnswers(host, undefined, 3), {ECONNREFUSED: 3});
  await services.set([], []);
  t.deepEqual(await ask(host, 'client', {address: at('a'), port: 8080}), [`a sees ${at('client')}`]);
});

test('a UDP client whose instance is gone gets another', async (t) => {
  const {host, instances, services} = await makeShop(t);
  await services.set([makeService()], instances);
  const question = {protocol: 'udp', address: vip, port: 80, sourcePort: 40_000} as const;
  const [first = ''] = await ask(host, 'client', question);
  await services.set(
    [makeService()],
    instances.filter(({id}) => !first.startsWith(id)),
  );
  const [second = ''] = await ask(host, 'client', question);
  t.regex(second, /^[abc] sees/);
  t.not(second.split(' ')[0], first.split(' ')[0]);
});

test('IPv6, sources that may not, and too many at once', async (t) => {
  const {host, at, instances, services} = await makeShop(t);
  const both = makeService({addresses: [vip, 'fd00:96::7']});
  const six = ['a', 'b', 'c'].map((name) => makeInstance(`${name}6`, at(name, 6)));
  await services.set([both], [...instances, ...six]);
  t.deepEqual(await countAnswers(host, 'client', 9, {address: 'fd00:96::7'}), {a: 3, b: 3, c: 3});
  await services.set([makeService({sourceRanges: ['192.0.2.0/24']})], instances);
  t.deepEqual(await countAnswers(host, 'client', 2), {ECONNREFUSED: 2});
  await services.set([makeService({sourceRanges: ['192.0.2.0/24', '10.71.0.0/24']})], instances);
  t.deepEqual(await countAnswers(host, 'client', 3), {a: 1, b: 1, c: 1});
  await services.set([makeService({limitPerSource: 5})], instances);
  const limited = await countAnswers(host, 'client', 60);
  t.true((limited['ECONNREFUSED'] ?? 0) >= 20, JSON.stringify(limited));
  t.true((limited['a'] ?? 0) >= 1, JSON.stringify(limited));
});

test('rules outlive the agent; what others flush comes back; a newer agent finds what is right and removes what is not', async (t) => {
  const {host, instances, services} = await makeShop(t);
  const other = makeService({name: 'old', addresses: ['10.96.0.8']});
  await services.set([makeService(), other], instances);
  await host.sh('nft flush ruleset');
  await services.reconcile();
  t.deepEqual(await countAnswers(host, 'client', 6), {a: 2, b: 2, c: 2});
  services.child.kill('SIGKILL');
  await new Promise((resolve) => services.child.once('close', resolve));
  t.deepEqual(await countAnswers(host, 'client', 6), {a: 2, b: 2, c: 2});
  const {stdout: before} = await host.sh('nft list table inet weft-services');
  const next = await startServices(host);
  await next.set([makeService()], instances);
  t.deepEqual(await countAnswers(host, 'client', 6), {a: 2, b: 2, c: 2});
  const {stdout: after} = await host.sh('nft list table inet weft-services');
  t.true(before.includes('10.96.0.8'));
  t.false(after.includes('10.96.0.8'));
  await next.set([], []);
  const {stdout: empty} = await host.sh('nft list table inet weft-services');
  t.false(/kept-|chain to-|0x/.test(empty), empty);
});
