import {setTimeout as sleep} from 'node:timers/promises';
import type {TestHost} from './host.ts';
import {pluginDir} from './paths.ts';
import {callPlugin, tryPlugin, type PluginCall, type PluginOutcome, type Reply} from './plugin.ts';

/** A container of a test, in a network namespace of its name, and the ADD that attached it. */
export interface Attached extends Omit<PluginCall, 'command'> {
  readonly name: string;
  readonly netns: string;
  readonly containerId: string;
  readonly result: Reply;
  /** Its addresses without prefix, in the result's order. */
  readonly addresses: readonly string[];
  /** The host end of its veth pair. */
  readonly port: string;
}

/** Makes a network namespace and attaches it by ADD; the container's id is the namespace's name. */
export async function attach(
  host: TestHost,
  name: string,
  conf: PluginCall['conf'],
  more: Partial<PluginCall> = {},
): Promise<Attached> {
  const netns = await host.addNetns(name);
  const call = {conf, netns, containerId: name, ...more};
  const result = await callPlugin(host, {...call, command: 'ADD'});
  return {...call, name, result, addresses: addressesOf(result), port: portOf(result)};
}

export async function detach(host: TestHost, {result, ...call}: Attached): Promise<void> {
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
}

export async function check(host: TestHost, {result, ...call}: Attached): Promise<PluginOutcome> {
  return tryPlugin(host, {...call, command: 'CHECK', prevResult: result});
}

export function addressesOf({ips = []}: Reply): string[] {
  return ips.map(({address}) => address.split('/')[0] ?? '');
}

/** The host end of the veth pair, by a result. */
export function portOf({interfaces = []}: Reply): string {
  return interfaces.find(({name, sandbox}) => !sandbox && /^veth[0-9a-f]{8}$/.test(name))?.name ?? '';
}

/** Whether `address` answers a ping from a container. */
export async function pings(host: TestHost, from: string, address: string): Promise<boolean> {
  const argv = host.inNetns(from, ['ping', '-c', '1', '-W', '2', address]);
  // Replies count, not exit codes: an answer of a host on the way is no answer.
  const {stdout} = await host.run(argv, {mayFail: true});
  return / 1 received/.test(stdout);
}

/** As `pings`, of what takes hosts a moment: fails when there is no answer for twenty seconds. */
export async function eventuallyPings(host: TestHost, from: string, address: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await pings(host, from, address)); await sleep(100))
    if (Date.now() > deadline) throw new Error(`no answer from ${address}`);
}

/** What `ip -j` prints, on the host or in a container. */
export async function showIp<T = Record<string, unknown>>(
  host: TestHost,
  argv: readonly string[],
  netns?: string,
): Promise<T[]> {
  const command = ['ip', '-j', '-d', ...argv];
  const {stdout} = await host.run(netns === undefined ? command : host.inNetns(netns, command));
  return (stdout.trim() === '' ? [] : JSON.parse(stdout)) as T[];
}

interface ShownLink {
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly operstate: string;
  readonly address: string;
  readonly mtu: number;
  readonly master?: string;
  readonly promiscuity: number;
  readonly addr_info?: readonly {readonly local: string; readonly prefixlen: number}[];
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_slave_data?: {readonly hairpin?: boolean; readonly isolated?: boolean};
  };
}

/** One link as `ip -j -d address` shows it. */
export async function showLink(host: TestHost, link: string, netns?: string): Promise<ShownLink> {
  const [shown] = await showIp<ShownLink>(host, ['address', 'show', 'dev', link], netns);
  if (shown === undefined) throw new Error(`no link ${link}`);
  return shown;
}

/** Addresses of a link but for link-local ones, with their prefixes. */
export async function listAddresses(host: TestHost, link: string, netns?: string): Promise<string[]> {
  const {addr_info = []} = await showLink(host, link, netns);
  return addr_info
    .filter(({local}) => !local.startsWith('fe80:'))
    .map(({local, prefixlen}) => `${local}/${prefixlen}`);
}

/** 3 is NET_ADDR_SET (linux/netdevice.h): somebody chose the hardware address. */
export async function macOrigin(host: TestHost, link: string, netns?: string): Promise<number> {
  const argv = ['cat', `/sys/class/net/${link}/addr_assign_type`];
  // /sys shows the links of the namespace it was mounted in.
  const inside = ['unshare', '--mount', 'sh', '-c', `mount -t sysfs sysfs /sys && ${argv.join(' ')}`];
  const {stdout} = await host.run(netns === undefined ? argv : host.inNetns(netns, inside));
  return Number(stdout);
}

/** Makes a directory of plugins on the host: shell scripts by their names, and ours beside them. Returns its path, for `dir`. */
export async function makePluginDir(
  host: TestHost,
  scripts: Readonly<Record<string, string>>,
): Promise<string> {
  const dir = '/run/plugins';
  for (const [name, script] of Object.entries(scripts))
    await host.write(`${dir}/${name}`, `#!/bin/sh\n${script}`);
  await host.sh(
    'chmod 755 "$1"/*; for file in "$2"/*; do [ -e "$1/${file##*/}" ] || ln -s "$file" "$1"/; done',
    {
      args: [dir, pluginDir],
    },
  );
  return dir;
}

/** Script of an IPAM plugin whose ADD prints `result`, and whose other verbs do nothing. */
export function fakeIpam(result: unknown): string {
  return `[ $CNI_COMMAND != ADD ] || cat <<'END'\n${JSON.stringify(result)}\nEND\n`;
}

/** A neighbour of the test host that keeps a list of who pinged it. */
export interface Outside {
  readonly address4: string;
  readonly address6: string;
  /** The source addresses of the pings that came in since the last time. */
  sources(): Promise<string[]>;
}

const watch = `
table inet watch {
  set seen4 { type ipv4_addr; flags dynamic; size 100; }
  set seen6 { type ipv6_addr; flags dynamic; size 100; }
  chain input {
    type filter hook input priority 0;
    icmp type echo-request add @seen4 { ip saddr }
    icmpv6 type echo-request add @seen6 { ip6 saddr }
  }
}
`;

/**
 * Makes the namespace "outside", linked to the host by 192.0.2.0/24 and 2001:db8:ff::/64. It has routes to
 * every container: a ping is answered whether it was masqueraded or not, and `sources` tells which.
 */
export async function makeOutside(host: TestHost): Promise<Outside> {
  const netns = await host.addNetns('outside');
  await host.sh(
    `ip link add uplink0 type veth peer name eth0 netns ${netns}
    ip link set uplink0 up
    ip address add 192.0.2.1/24 dev uplink0
    ip address add 2001:db8:ff::1/64 dev uplink0 nodad
    inside() { nsenter --net=${netns} "$@"; }
    inside ip link set eth0 up
    inside ip address add 192.0.2.2/24 dev eth0
    inside ip address add 2001:db8:ff::2/64 dev eth0 nodad
    inside ip route add default via 192.0.2.1
    inside ip -6 route add default via 2001:db8:ff::1
    inside nft -f -`,
    {stdin: watch},
  );
  // A link that came up a moment ago may lose its first packets; tests are about those of containers.
  for (const address of ['192.0.2.2', '2001:db8:ff::2'])
    await host.sh(`for i in $(seq 20); do ping -c 1 -W 1 "$1" >/dev/null && exit; done; exit 1`, {
      args: [address],
      timeoutMs: 30_000,
    });
  await host.run(host.inNetns('outside', ['nft', 'flush set inet watch seen4; flush set inet watch seen6']));
  return {
    address4: '192.0.2.2',
    address6: '2001:db8:ff::2',
    async sources() {
      const {stdout} = await host.run(host.inNetns('outside', ['nft', '-j', 'list', 'sets', 'inet']));
      await host.run(
        host.inNetns('outside', ['nft', 'flush set inet watch seen4; flush set inet watch seen6']),
      );
      const {nftables} = JSON.parse(stdout) as {nftables: {set?: {elem?: string[]}}[]};
      return nftables.flatMap(({set}) => set?.elem ?? []).sort();
    },
  };
}
