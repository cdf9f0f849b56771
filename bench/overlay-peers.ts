import {toolPath} from '../integration/harness/debian.ts';
import type {TestHost} from '../integration/harness/host.ts';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {openRouteSocket} from '../lib/netlink/route/socket.ts';
import {Netns} from '../lib/netns/netns.ts';
import {sysctl} from '../lib/netns/sysctl.ts';
import {applyOperations} from '../lib/overlay/apply.ts';
import {planDesired} from '../lib/overlay/desired.ts';
import {ensureDevice} from '../lib/overlay/ensure-device.ts';
import type {Member} from '../lib/overlay/member.ts';
import {observeOverlay} from '../lib/overlay/observe.ts';
import {planOverlay} from '../lib/overlay/plan.ts';

/** Milliseconds for the same peers, by ourselves and by the tools of iproute2. */
export interface PeerTimes {
  readonly peers: number;
  /** Worked out, compared with the kernel, and carried out. */
  readonly oursMs: number;
  /** Compared with the kernel, which has all of it. */
  readonly compareMs: number;
  /** `ip -batch` twice and `bridge -batch` once, from files that are there. */
  readonly batchMs: number;
}

const mac = (index: number) =>
  `02:00:00:${[index >> 16, (index >> 8) & 255, index & 255].map((byte) => byte.toString(16).padStart(2, '0')).join(':')}`;

function members(count: number): Member[] {
  return Array.from({length: count}, (_, i) => ({
    id: `n${i + 1}`,
    underlay: [parseIp(`172.16.${(i + 1) >> 8}.${(i + 1) & 255}`)!],
    subnets: [parseCidr(`10.${(i + 1) >> 8}.${(i + 1) & 255}.0/24`)!],
    macs: {4: mac(i + 1)},
  }));
}

/** Programs so many peers on a host with `eth0`, in both ways, one after the other; what was there before is removed. */
export async function measurePeers(host: TestHost, local: string, peers: number): Promise<PeerTimes> {
  const netns = Netns.open(`/proc/${host.pid}/ns/net`);
  const rt = netns.run(() => openRouteSocket());
  try {
    await host.sh('ip link del flannel.1 2>/dev/null || true');
    const {stdout} = await host.run(['cat', '/sys/class/net/eth0/ifindex'], {log: () => {}});
    const carrier = {ifindex: Number(stdout), mtu: 1500, addresses: [parseIp(local)!]};
    const network = {
      name: 'bench',
      form: 'routed',
      vni: 1,
      port: 8472,
      ranges: [parseCidr('10.0.0.0/8')!],
      directRouting: false,
    } as const;
    const self: Member = {
      id: 'self',
      underlay: carrier.addresses,
      subnets: [parseCidr('10.0.0.0/24')!],
      macs: {4: mac(0)},
    };
    const all = members(peers);
    const inside = {
      read: (name: string) => netns.run(() => sysctl.read(name)),
      write: (name: string, value: string) => netns.run(() => sysctl.write(name, value)),
      ensure: (name: string, value: string) => netns.run(() => sysctl.ensure(name, value)),
    };
    const desiredDevice = planDesired({network, self, peers: []}, {carrier}).devices[0]!;
    await ensureDevice({rt, sysctl: inside}, desiredDevice);

    const pass = async () => {
      const started = performance.now();
      const desired = planDesired({network, self, peers: all}, {carrier});
      const {operations} = planOverlay(desired, await observeOverlay(rt, desired));
      const {failed} = await applyOperations(rt, operations);
      if (failed.length > 0)
        throw new Error(`${failed.length} operations failed: ${failed[0]!.error.message}`);
      return {tookMs: performance.now() - started, operations: operations.length};
    };
    const first = await pass();
    if (first.operations !== 3 * peers) throw new Error(`${first.operations} operations for ${peers} peers`);
    const second = await pass();
    if (second.operations !== 0) throw new Error('what was done was not as it should be');

    await host.sh('ip link del flannel.1');
    await ensureDevice({rt, sysctl: inside}, desiredDevice);
    const lines = (line: (gateway: string, to: string, mac: string) => string) =>
      all
        .map(({underlay, subnets, macs}) => line(formatIp(subnets[0]!.ip), formatIp(underlay[0]!), macs[4]!))
        .join('\n');
    await host.write(
      '/run/neigh',
      lines((gateway, _, hw) => `neigh replace ${gateway} lladdr ${hw} dev flannel.1 nud permanent`),
    );
    await host.write(
      '/run/fdb',
      lines((_, to, hw) => `fdb replace ${hw} dev flannel.1 dst ${to} self permanent`),
    );
    await host.write(
      '/run/route',
      lines((gateway) => `route replace ${gateway}/24 via ${gateway} dev flannel.1 onlink proto 119`),
    );
    const [ip, bridge] = [toolPath('ip'), toolPath('bridge')];
    const batch = await host.sh(
      `${ip} -batch /run/neigh; ${bridge} -batch /run/fdb; ${ip} -batch /run/route`,
      {
        timeoutMs: 120_000,
        log: () => {},
      },
    );
    await host.sh('ip link del flannel.1');
    return {peers, oursMs: first.tookMs, compareMs: second.tookMs, batchMs: batch.durationMs};
  } finally {
    rt.close();
    netns.close();
  }
}
