import {addressesOf, portOf} from '../harness/attachment.ts';
import {makeHost, type TestHost} from '../harness/host.ts';
import {testWith} from '../harness/needs.ts';
import {callPlugin, tryPlugin, type Reply} from '../harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from '../harness/snapshot.ts';

// Every process costs seconds where the processor is emulated: few tests, each with all it can look at.

const test = testWith('root');

interface Container {
  readonly containerId: string;
  readonly netns: string;
  readonly conf: {readonly type: string} & Readonly<Record<string, unknown>>;
  readonly result: Reply;
}

/** Attaches a container for each configuration, all at once: pod-0, pod-1, … */
async function attachAll(host: TestHost, confs: readonly object[]): Promise<Container[]> {
  const netnses = await host.addNetnses('pod', confs.length);
  return Promise.all(
    confs.map(async (more, i) => {
      const conf = {cniVersion: '1.1.0', name: 'vlans', type: 'bridge', ...more};
      const call = {conf, netns: netnses[i] ?? '', containerId: `pod-${i}`};
      return {...call, result: await callPlugin(host, {...call, command: 'ADD'})};
    }),
  );
}

interface PortVlans {
  readonly ifname: string;
  readonly vlans: readonly {readonly vlan: number; readonly flags?: readonly string[]}[];
}

/** VLANs of every port, as `10` (tagged) or `100 PVID Egress Untagged`. */
async function listVlans(host: TestHost): Promise<(port: string) => string[]> {
  const {stdout} = await host.run(['bridge', '-j', 'vlan', 'show']);
  const ports = JSON.parse(stdout) as PortVlans[];
  return (port) =>
    (ports.find(({ifname}) => ifname === port)?.vlans ?? []).map(({vlan, flags = []}) =>
      [vlan, ...flags].join(' '),
    );
}

/** Which of some pings from containers are answered; all at once. */
async function findAnswered(host: TestHost, pings: readonly (readonly [from: number, to: string])[]) {
  const script = pings
    .map(
      ([from, to]) =>
        `(nsenter --net=/run/netns/pod-${from} ping -c 2 -W 4 ${to} >/dev/null && echo ${from} ${to}) &`,
    )
    .concat('wait')
    .join('\n');
  const {stdout} = await host.sh(script, {timeoutMs: 60_000});
  return stdout.trim().split('\n').sort();
}

const untagged = (vlan: number) => `${vlan} PVID Egress Untagged`;
const ipam = (subnet: string) => ({type: 'host-local', subnet});

test('VLANs carry traffic to their members and to their gateway alone', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const hundred = {vlan: 100, isGateway: true, ipam: ipam('10.62.0.0/24')};
  const pods = await attachAll(host, [
    hundred,
    hundred,
    {name: 'two', vlan: 200, isDefaultGateway: true, ipam: ipam('10.63.0.0/24')},
    // The same subnet as the first, in another VLAN.
    {name: 'three', vlan: 300, ipam: {...ipam('10.62.0.0/24'), rangeStart: '10.62.0.99'}},
  ]);
  const [a, b, , d] = pods.map(({result}) => addressesOf(result)[0] ?? '');
  const result = pods[0]!.result;
  t.deepEqual(
    result.interfaces?.map(({name}) => name),
    ['cni0', portOf(result), 'eth0', 'cni0.100'],
  );
  const vlans = await listVlans(host);
  t.deepEqual(
    pods.map((pod) => vlans(portOf(pod.result))),
    [100, 100, 200, 300].map((vlan) => [untagged(vlan)]),
  );
  const {stdout} = await host.sh(
    'for link in cni0 cni0.100 cni0.200; do ip -o -4 address show dev $link; ip -o link show dev $link; done',
  );
  t.deepEqual(
    [...stdout.matchAll(/: (\S+) +inet (\S+)/g)].map(([, link, address]) => `${link} ${address}`),
    ['cni0.100 10.62.0.1/24', 'cni0.200 10.63.0.1/24'],
  );
  const mac = result.interfaces?.[3]?.mac ?? 'none';
  t.true(stdout.includes(mac), `${mac} in ${stdout}`);
  const answered = await findAnswered(host, [
    [0, b ?? ''],
    [0, '10.62.0.1'],
    [2, '10.63.0.1'],
    // Through the host, which is the gateway of both.
    [2, a ?? ''],
    [0, d ?? ''],
    [3, a ?? ''],
    [3, '10.62.0.1'],
  ]);
  // The first has no route to the third: its network names no default gateway.
  t.deepEqual(answered, ['0 10.62.0.1', `0 ${b}`, '2 10.63.0.1']);

  const checked = await Promise.all(
    pods.map(({result: prevResult, ...call}) => tryPlugin(host, {...call, command: 'CHECK', prevResult})),
  );
  t.deepEqual(
    checked.map(({code, stdout: text}) => `${code}${text}`),
    ['0', '0', '0', '0'],
  );
  await host.run(['ip', 'link', 'del', 'cni0.200']);
  const {result: prevResult, ...third} = pods[2]!;
  const {reply} = await tryPlugin(host, {...third, command: 'CHECK', prevResult});
  t.is(reply?.msg, '"cni0.200", the gateway of VLAN 200, is gone');
  await Promise.all(pods.map((call) => callPlugin(host, {...call, netns: '', command: 'DEL'})));
  await assertNothingLeft(t, host, before, [
    ...staysByDesign,
    /^mount nsfs /,
    /^file \/run\/netns\//,
    // The gateway of a VLAN stays, as the bridge does.
    /^link (cni0\.[12]00 veth master= |veth[0-9a-f]{8} veth master=cni0 )$/,
    /^address cni0\.[12]00 /,
    /^route \S+  cni0\.[12]00 /,
  ]);
});

test('a trunk carries the VLANs it lists, tagged, and the default one only if that is preserved', async (t) => {
  const host = await makeHost(t);
  const vlanTrunk = [{minID: 10, maxID: 12}, {id: 20}, {id: 11}];
  const pods = await attachAll(host, [
    {vlanTrunk},
    {vlan: 7, vlanTrunk},
    {vlan: 8, preserveDefaultVlan: true},
    {vlan: 12},
    {vlanTrunk: []},
  ]);
  const vlans = await listVlans(host);
  const tagged = ['10', '11', '12', '20'];
  t.deepEqual(
    pods.map(({result}) => vlans(portOf(result))),
    [
      [untagged(1), ...tagged],
      [untagged(7), ...tagged],
      ['1 Egress Untagged', untagged(8)],
      [untagged(12)],
      // A bridge that filters, and its default.
      [untagged(1)],
    ],
  );
  await host.sh(
    `nsenter --net=/run/netns/pod-0 sh -e <<'END'
    for vlan in 12 13; do
      ip link add link eth0 name eth0.$vlan type vlan id $vlan
      ip link set eth0.$vlan up
      ip address add 10.5.$vlan.1/24 dev eth0.$vlan
    done
END
    nsenter --net=/run/netns/pod-3 sh -ec 'ip address add 10.5.12.2/24 dev eth0; ip address add 10.5.13.2/24 dev eth0'`,
  );
  t.deepEqual(
    await findAnswered(host, [
      [3, '10.5.12.1'],
      [3, '10.5.13.1'],
    ]),
    ['3 10.5.12.1'],
  );

  const check = async ({result, ...call}: Container) =>
    (await tryPlugin(host, {...call, command: 'CHECK', prevResult: result})).reply?.msg;
  t.deepEqual(await Promise.all(pods.map(check)), [undefined, undefined, undefined, undefined, undefined]);
  const ports = pods.map(({result}) => portOf(result));
  await host.sh(
    `bridge vlan del vid 11 dev $1
    bridge vlan add vid 7 untagged dev $2
    bridge vlan del vid 8 dev $3
    bridge vlan add vid 12 dev $4`,
    {args: ports},
  );
  t.deepEqual(await Promise.all(pods.slice(0, 4).map(check)), [
    `VLAN 10-12 is missing on "${ports[0]}"`,
    `VLAN 7 is missing on "${ports[1]}"`,
    `VLAN 8 is missing on "${ports[2]}"`,
    `VLAN 12 is missing on "${ports[3]}"`,
  ]);
});
