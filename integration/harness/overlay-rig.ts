import type {ExecutionContext} from 'ava';
import {runCommand} from './command.ts';
import {binOf} from './debian.ts';
import {startHost, type TestHost} from './host.ts';
import {startOverlayAgent, type AgentOptions, type RunningAgent} from './overlay-agent.ts';

/** One host of the rig: its namespaces, and where the others reach it. */
export interface RigHost {
  /** `h1`, `h2`, … on the segment, `far` behind the routers. */
  readonly name: string;
  readonly host: TestHost;
  readonly ipv4: string;
  readonly ipv6: string;
  /** Starts `weft agent` on it with this configuration. */
  startAgent(config: unknown, options?: AgentOptions): Promise<RunningAgent>;
  /** Makes its `eth0` and configures it, as a network card that was found. */
  plug(change?: {readonly ipv4?: string; readonly mtu?: number}): Promise<void>;
  /** Takes its `eth0` away. */
  unplug(): Promise<void>;
}

/**
 * Hosts on one Ethernet segment, one more behind two routers with a link of MTU 1400 between them, and a namespace `store`
 * on the segment for what keeps the membership. Everything is in namespaces of its own.
 */
export interface OverlayRig {
  /** The segment: bridge `br0`, and the namespaces `store`, `routera` and `routerb`. */
  readonly underlay: TestHost;
  readonly hosts: readonly RigHost[];
  /** Throws for a name that is not there. */
  host(name: string): RigHost;
  /** Makes another host on the segment. */
  addHost(name: string): Promise<RigHost>;
  /** Addresses of the namespace `store`: three, so that a store can have three members. */
  readonly storeAddresses: readonly string[];
  close(): Promise<void>;
}

export interface RigOptions {
  /** How many hosts on the segment. */
  readonly hosts: number;
  /** Whether there is a host behind routers. */
  readonly far?: boolean;
  readonly log?: (line: string) => void;
}

/** `eth0` of the host `index`, counted from 1. */
export const segment = {
  ipv4: (index: number) => `192.168.50.${10 + index}`,
  ipv6: (index: number) => `fd00:50::${10 + index}`,
} as const;

const storeAddresses = ['192.168.50.2', '192.168.50.3', '192.168.50.4'] as const;

const underlayScript = `
ip link add br0 type bridge
ip link set br0 up mtu 9000
wire() { # NETNS PORT: joins a namespace's eth0 to the segment
  ip link add "$2" mtu 9000 type veth peer name eth0 mtu 1500 netns "$1"
  ip link set "$2" master br0 up
}
for name in store routera; do wire $name $name; done
in_store() { nsenter --net=/run/netns/store "$@"; }
in_a() { nsenter --net=/run/netns/routera "$@"; }
in_b() { nsenter --net=/run/netns/routerb "$@"; }
for address in ${storeAddresses.join(' ')}; do in_store ip address add $address/24 dev eth0; done
in_store ip address add fd00:50::2/64 dev eth0 nodad
in_store ip link set eth0 up
in_store ip route add default via 192.168.50.1
in_a ip address add 192.168.50.1/24 dev eth0
in_a ip address add fd00:50::1/64 dev eth0 nodad
in_a ip link set eth0 up
in_a ip link add narrow mtu 1400 type veth peer name narrow mtu 1400 netns routerb
in_a ip address add 192.168.70.1/24 dev narrow
in_a ip address add fd00:70::1/64 dev narrow nodad
in_a ip link set narrow up
in_b ip address add 192.168.70.2/24 dev narrow
in_b ip address add fd00:70::2/64 dev narrow nodad
in_b ip link set narrow up
for router in in_a in_b; do
  $router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
done
in_a ip route add 192.168.60.0/24 via 192.168.70.2
in_a ip -6 route add fd00:60::/64 via fd00:70::2
in_b ip route add default via 192.168.70.1
in_b ip -6 route add default via fd00:70::1
`;

/** Makes a rig for the tests of a file: in `test.before`, its `close` in `test.after.always`. Root only. */
export async function startRig({hosts: count, far = false, log = () => {}}: RigOptions): Promise<OverlayRig> {
  const [underlay, ...machines] = await Promise.all(
    Array.from({length: count + (far ? 2 : 1)}, () => startHost(log)),
  );
  if (underlay === undefined) throw new Error('a rig has an underlay');
  const hosts: RigHost[] = [];
  for (const name of ['store', 'routera', 'routerb']) await underlay.addNetns(name);
  // Dozens of processes: on the second kernel, beside other tests, each takes its time.
  await underlay.sh(underlayScript, {log: () => {}, timeoutMs: 180_000});
  for (const [index, host] of machines.entries()) {
    const isFar = far && index === count;
    hosts.push(
      isFar
        ? makeRigHost({underlay, host, name: 'far', ipv4: '192.168.60.11', ipv6: 'fd00:60::11'})
        : makeRigHost({
            underlay,
            host,
            name: `h${index + 1}`,
            ipv4: segment.ipv4(index + 1),
            ipv6: segment.ipv6(index + 1),
          }),
    );
  }
  await Promise.all(hosts.map((each) => each.plug()));
  return {
    underlay,
    hosts,
    storeAddresses,
    host(name) {
      const found = hosts.find((each) => each.name === name);
      if (found === undefined) throw new Error(`the rig has no host ${name}`);
      return found;
    },
    async addHost(name) {
      const index = 40 + hosts.length;
      const host = await startHost(log);
      const added = makeRigHost({
        underlay,
        host,
        name,
        ipv4: segment.ipv4(index),
        ipv6: segment.ipv6(index),
      });
      await added.plug();
      hosts.push(added);
      return added;
    },
    async close() {
      await Promise.all(hosts.map(({host}) => host.close()));
      await underlay.close();
    },
  };
}

/** As `startRig`, for one test: closed when it ends, and shown with all its commands if it failed. */
export async function makeRig(t: ExecutionContext, options: RigOptions): Promise<OverlayRig> {
  const lines: string[] = [];
  const rig = await startRig({log: (line) => lines.push(line), ...options});
  t.teardown(async () => {
    await rig.close();
    if (!t.passed) for (const line of lines) t.log(line);
  });
  return rig;
}

interface RigHostInput {
  readonly underlay: TestHost;
  readonly host: TestHost;
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

function makeRigHost({underlay, host, name, ipv4, ipv6}: RigHostInput): RigHost {
  const isFar = name === 'far';
  const gateways = isFar ? ['192.168.60.1', 'fd00:60::1'] : ['192.168.50.1', 'fd00:50::1'];
  return {
    name,
    host,
    ipv4,
    ipv6,
    startAgent: (config, options) => startOverlayAgent(host, config, options),
    async plug(change = {}) {
      // From outside both: only there the other's process has a number.
      const other = isFar ? '/run/netns/routerb' : undefined;
      const own = `/proc/${underlay.pid}/root${other ?? ''}`;
      const net = other === undefined ? `/proc/${underlay.pid}/ns/net` : own;
      const script = `
        ip link add ${name} mtu 9000 type veth peer name eth0 mtu ${change.mtu ?? 1500} netns ${host.pid}
        ip link set ${name} up ${isFar ? 'mtu 1500' : 'master br0'}
        ${isFar ? `ip address add 192.168.60.1/24 dev ${name}; ip address add fd00:60::1/64 dev ${name} nodad` : ''}`;
      await runCommand(['nsenter', `--net=${net}`, '/bin/sh', '-ec', script], {
        env: {PATH: `${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`},
      });
      await host.sh(
        `ip address add "$1"/24 dev eth0
        ip address add "$2"/64 dev eth0 nodad
        ip link set eth0 up
        ip route add default via "$3"
        ip -6 route add default via "$4"`,
        {args: [change.ipv4 ?? ipv4, ipv6, ...gateways], log: () => {}},
      );
    },
    async unplug() {
      await host.run(['ip', 'link', 'del', 'eth0']);
    },
  };
}
