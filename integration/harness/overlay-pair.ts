import type {ExecutionContext} from 'ava';
import {parseIp, type Family, type Ip} from '../../lib/ip/address.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {addAddress} from '../../lib/netlink/route/address.ts';
import {addLink, getLink, setLink} from '../../lib/netlink/route/link.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import {openNetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {sysctl, type Sysctl} from '../../lib/netns/sysctl.ts';
import type {Member, OverlayNetwork} from '../../lib/overlay/member.ts';
import type {LocalSettings} from '../../lib/overlay/state.ts';
import {applyOperations} from '../../lib/overlay/apply.ts';
import {planDesired} from '../../lib/overlay/desired.ts';
import {ensureDevice, type EnsuredDevice} from '../../lib/overlay/ensure-device.ts';
import {observeOverlay} from '../../lib/overlay/observe.ts';
import {formatOperation} from '../../lib/overlay/operation.ts';
import {planOverlay} from '../../lib/overlay/plan.ts';
import {deriveVtepMac} from '../../lib/overlay/vtep-mac.ts';
import {makeNamespace, type TestNamespace} from './namespace.ts';

/** One of the hosts of an overlay in a test: a namespace with `eth0` in the underlay, and `pod0` as its containers' network. */
export interface OverlayHost extends TestNamespace {
  readonly sysctl: Sysctl;
  readonly nft: NetfilterSocket;
  /** Of the underlay. */
  readonly ifindex: number;
  /** 1 for the first host. */
  readonly number: number;
}

/** The network of a test; one IPv4 range unless told otherwise. */
export function makeNetwork(changes: Partial<OverlayNetwork> = {}): OverlayNetwork {
  return {
    name: 'pods',
    form: 'routed',
    vni: 1,
    port: 8472,
    ranges: [parseCidr('10.244.0.0/16')!],
    directRouting: false,
    ...changes,
  };
}

const families = {
  4: {underlay: (n: number) => `192.168.50.${n}`, subnet: (n: number) => `10.244.${n}.0/24`, prefix: 24},
  6: {underlay: (n: number) => `fd00:50::${n}`, subnet: (n: number) => `fd00:244:0:${n}::/64`, prefix: 64},
} as const;

/** The address of host `n` in the underlay. */
export function underlayOf(n: number, family: Family = 4): Ip {
  return parseIp(families[family].underlay(n))!;
}

/** Host `n` as its membership has it. */
export function makeMember(
  n: number,
  {underlay = [4], overlay = [4], vni = 1}: {underlay?: Family[]; overlay?: Family[]; vni?: number} = {},
): Member {
  const node = `host-${n}`;
  return {
    id: node,
    underlay: underlay.map((family) => underlayOf(n, family)),
    subnets: overlay.map((family) => parseCidr(families[family].subnet(n))!),
    macs: {
      4: underlay.includes(4) ? deriveVtepMac({vni, node, family: 4}) : undefined,
      6: underlay.includes(6) ? deriveVtepMac({vni, node, family: 6}) : undefined,
    },
    seniority: n,
  };
}

/** What host `n` decides itself. */
export function makeLocal(host: OverlayHost, underlay: readonly Family[] = [4]): LocalSettings {
  const addresses = underlay.map((family) => underlayOf(host.number, family));
  return {carrier: {ifindex: host.ifindex, mtu: 1500, addresses}};
}

/** Two hosts joined by a cable, with addresses of both families; forwarding is on. Root only. */
export async function makePair(t: ExecutionContext): Promise<readonly [OverlayHost, OverlayHost]> {
  const [a, b] = await Promise.all([makeNamespace(t), makeNamespace(t)]);
  await addLink(a.rt, {
    name: 'eth0',
    info: {kind: 'veth', data: {peer: {name: 'eth0', netnsFd: b.netns.fd}}},
  });
  return Promise.all([finish(t, a, 1), finish(t, b, 2)]);
}

async function finish(t: ExecutionContext, ns: TestNamespace, number: number): Promise<OverlayHost> {
  const {netns, rt} = ns;
  const own: Sysctl = {
    read: (name) => netns.run(() => sysctl.read(name)),
    write: (name, value) => netns.run(() => sysctl.write(name, value)),
    ensure: (name, value) => netns.run(() => sysctl.ensure(name, value)),
  };
  own.write('net/ipv6/conf/default/accept_dad', '0');
  for (const name of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']) own.write(name, '1');
  await setLink(rt, {name: 'lo'}, {up: true});
  await setLink(rt, {name: 'eth0'}, {up: true});
  const {ifindex} = await getLink(rt, {name: 'eth0'});
  for (const family of [4, 6] as const)
    await addAddress(rt, {
      ip: underlayOf(number, family),
      prefix: families[family].prefix,
      ifindex,
      noDad: family === 6,
    });
  const nft = netns.run(() => openNetfilterSocket());
  t.teardown(() => nft.close());
  await addPods(rt, number);
  return {...ns, sysctl: own, nft, ifindex, number};
}

/** A bridge with the first address of the host's subnets: it answers as a container would. */
async function addPods(rt: RouteSocket, number: number): Promise<void> {
  await addLink(rt, {name: 'pod0', info: {kind: 'bridge'}, up: true});
  const {ifindex} = await getLink(rt, {name: 'pod0'});
  for (const family of [4, 6] as const) {
    const {ip, prefix} = parseCidr(families[family].subnet(number))!;
    const first = parseIp(family === 4 ? `10.244.${number}.1` : `fd00:244:0:${number}::1`)!;
    await addAddress(rt, {ip: first ?? ip, prefix, ifindex, noDad: family === 6});
  }
}

/** What one round did. */
interface Round {
  readonly devices: readonly EnsuredDevice[];
  readonly operations: readonly string[];
}

/** One round of what the agent does: devices, a look at the kernel, the difference. */
export async function reconcile(
  t: ExecutionContext,
  host: OverlayHost,
  {
    network = makeNetwork(),
    members,
    local = makeLocal(host),
  }: {
    readonly network?: OverlayNetwork;
    readonly members: readonly Member[];
    readonly local?: LocalSettings;
  },
): Promise<Round> {
  const self = members.find(({id}) => id === `host-${host.number}`)!;
  const desired = planDesired({network, self, peers: members.filter((each) => each !== self)}, local);
  const devices: EnsuredDevice[] = [];
  for (const spec of desired.devices) devices.push(await ensureDevice(host, spec));
  const actual = await observeOverlay(host.rt, desired);
  const {operations, obstacles} = planOverlay(desired, actual);
  const applied = await applyOperations(host.rt, operations);
  t.deepEqual(applied.failed, []);
  t.deepEqual(obstacles, []);
  const names = new Map([...actual.devices].map(([name, ifindex]) => [ifindex, name]));
  return {
    devices,
    operations: operations.map((each) => formatOperation(each, (ifindex) => names.get(ifindex) ?? 'eth0')),
  };
}
