import {firewall, guard, listRuleset, pingAll} from './harness/firewall.ts';
import type {Guarded} from './harness/firewall.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin} from './harness/plugin.ts';

const test = testWith('root', 'apt');

const network = (letter: 'a' | 'b', number: number) =>
  bridgeNetwork({
    name: letter,
    cniVersion: '1.1.0',
    bridge: `cni-${letter}`,
    ipMasq: false,
    ipam: {
      type: 'host-local',
      ranges: [[{subnet: `10.${number}.0.0/24`}], [{subnet: `2001:db8:${number}::/64`}]],
      routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
    },
  });
const networks = {a: network('a', 71), b: network('b', 72)};

type Pods = Readonly<Record<'a1' | 'a2' | 'b1', Guarded>>;

/** Two containers on one bridge, one on another, and an outside that knows the way back. */
async function arrange(
  host: TestHost,
  {a, b}: Readonly<Record<'a' | 'b', Readonly<Record<string, unknown>>>>,
): Promise<Pods> {
  await addOutside(host);
  await host.sh(`
    for number in 71 72; do
      nsenter --net=/run/netns/outside ip route add 10.$number.0.0/24 via 192.0.2.1
      nsenter --net=/run/netns/outside ip route add 2001:db8:$number::/64 via 2001:db8:2::1
    done
    iptables -P FORWARD DROP
    ip6tables -P FORWARD DROP
  `);
  const conf = (name: 'a' | 'b', policy: Readonly<Record<string, unknown>>) => ({
    ...firewall,
    name,
    ...policy,
  });
  return {
    a1: await guard(host, 'a1', conf('a', a), networks.a),
    a2: await guard(host, 'a2', conf('a', a), networks.a),
    b1: await guard(host, 'b1', conf('b', b), networks.b),
  };
}

const outside = ['192.0.2.2', '2001:db8:2::2'] as const;

/** Who reaches whom, over IPv4 and over IPv6. */
async function reach(host: TestHost, {a1, a2, b1}: Pods): Promise<Record<string, string>> {
  const ways = {
    'a1 a2': a2.addresses,
    'a2 a1': a1.addresses,
    'a1 b1': b1.addresses,
    'b1 a1': a1.addresses,
    'a1 outside': outside,
    'b1 outside': outside,
  };
  const reached: Record<string, string> = {};
  for (const [way, addresses] of Object.entries(ways)) {
    const answers = await pingAll(host, way.split(' ')[0]!, addresses);
    reached[way] = answers.every(Boolean) ? 'yes' : answers.some(Boolean) ? 'partly' : 'no';
  }
  return reached;
}

const alwaysReached = {'a1 outside': 'yes', 'b1 outside': 'yes'};
const open = {'a1 a2': 'yes', 'a2 a1': 'yes', 'a1 b1': 'yes', 'b1 a1': 'yes', ...alwaysReached};
const sameBridge = {...open, 'a1 b1': 'no', 'b1 a1': 'no'};
const isolated = {...sameBridge, 'a1 a2': 'no', 'a2 a1': 'no'};

const cases = [
  ['open', {}, {}, open],
  ['same-bridge', {ingressPolicy: 'same-bridge'}, {ingressPolicy: 'same-bridge'}, sameBridge],
  ['isolated', {ingressPolicy: 'isolated'}, {ingressPolicy: 'isolated'}, isolated],
  ['isolated beside same-bridge', {ingressPolicy: 'isolated'}, {ingressPolicy: 'same-bridge'}, isolated],
  // As with the reference, a policy concerns bridges that have one.
  ['isolated beside open', {ingressPolicy: 'isolated'}, {}, {...isolated, 'a1 b1': 'yes', 'b1 a1': 'yes'}],
] as const;

for (const backend of ['nftables', 'iptables'])
  for (const [name, a, b, expected] of cases)
    test(`${name}: who reaches whom, with ${backend}`, async (t) => {
      t.timeout(240_000);
      const host = await makeHost(t);
      // The reference's rules see frames between ports only through br_netfilter; ours need it not.
      const call = backend === 'iptables' ? 1 : 0;
      await host.sh(`
        for name in iptables ip6tables; do echo ${call} > /proc/sys/net/bridge/bridge-nf-call-$name || true; done
      `);
      const pods = await arrange(host, {a: {backend, ...a}, b: {backend, ...b}});
      t.deepEqual(await reach(host, pods), expected);
      for (const {call} of Object.values(pods)) await callPlugin(host, {...call, command: 'CHECK'});
    });

test('where frames between ports are seen by iptables as well, isolated is as isolated', async (t) => {
  t.timeout(240_000);
  const host = await makeHost(t);
  await host.sh(
    'for name in iptables ip6tables; do echo 1 > /proc/sys/net/bridge/bridge-nf-call-$name || true; done',
  );
  const policy = {ingressPolicy: 'isolated'};
  const pods = await arrange(host, {a: policy, b: {ingressPolicy: 'same-bridge'}});
  t.deepEqual(await reach(host, pods), isolated);
});

test('the policy of a bridge ends with its last container, and the stricter of two counts', async (t) => {
  t.timeout(240_000);
  const host = await makeHost(t);
  const policies = async () => {
    const text = await listRuleset(host);
    const elements = (set: string) =>
      new RegExp(`(?:map|set) ${set} \\{[^}]*elements = \\{([^}]*)\\}`)
        .exec(text)?.[1]
        ?.replaceAll(/\s+/g, ' ')
        .trim() ?? '';
    return {
      pairs: elements('bridge-pairs'),
      bridges: elements('bridges'),
      chains: text.match(/chain (isolated|same-bridge)-\S+/g) ?? [],
    };
  };
  const conf = (name: string, ingressPolicy: string) => ({...firewall, name, ingressPolicy});
  const one = await guard(host, 'one', conf('a', 'same-bridge'), networks.a);
  const two = await guard(host, 'two', conf('a2', 'isolated'), {
    ...networks.a,
    name: 'a2',
    isGateway: false,
    ipam: {
      type: 'host-local',
      subnet: '10.73.0.0/24',
    },
  });
  const three = await guard(host, 'three', conf('a', 'same-bridge'), networks.a);
  t.deepEqual(await policies(), {
    pairs: '"cni-a" . "cni-a" : drop',
    bridges: '"cni-a"',
    chains: ['chain same-bridge-cni-a', 'chain isolated-cni-a'],
  });
  await callPlugin(host, {...three.call, command: 'CHECK'});
  await callPlugin(host, {...two.call, command: 'DEL'});
  t.deepEqual(await policies(), {
    pairs: '"cni-a" . "cni-a" : return',
    bridges: '"cni-a"',
    chains: ['chain same-bridge-cni-a'],
  });
  await callPlugin(host, {...one.call, command: 'DEL', prevResult: undefined});
  t.is((await policies()).bridges, '"cni-a"');
  await callPlugin(host, {...three.call, command: 'GC', attachments: []});
  t.deepEqual(await policies(), {pairs: '', bridges: '', chains: []});
});
