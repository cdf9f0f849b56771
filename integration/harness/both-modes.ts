import {isDeepStrictEqual} from 'node:util';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn, weftOnHost, type TestAgent} from './agent.ts';
import {runCommand, type Output} from './command.ts';
import {binOf} from './debian.ts';
import {makeHost, type TestHost} from './host.ts';
import {repository} from './paths.ts';
import type {Reply} from './plugin.ts';

/*
 * The same calls on two fresh hosts: one with stubs, one with native clients and an agent that serves them. What
 * callers see and what is left in the kernel and on disk has to be the same.
 */

export type Mode = 'stubs' | 'clients';

/** Where the plugins are on both hosts. */
export const binDir = '/opt/cni/bin';

/** One call of a plugin, in all that a caller can choose. */
export interface ModeCall {
  readonly type: string;
  readonly command?: string;
  readonly conf?: Readonly<Record<string, unknown>>;
  /** What is on stdin where that is no configuration. */
  readonly stdin?: string;
  readonly containerId?: string;
  readonly netns?: string;
  readonly ifName?: string;
  readonly prevResult?: unknown;
  /** Of the environment, beyond or instead of what the other keys say; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** A shell script that executes the plugin, which is its $0. */
  readonly script?: string;
}

/** A host in one of the modes, and what has been recorded of it. */
export interface ModeHost {
  readonly host: TestHost;
  readonly mode: Mode;
  /** Makes a call and records what comes of it under a title. */
  readonly call: (title: string, call: ModeCall) => Promise<Output & {readonly reply: Reply | undefined}>;
  /** Records anything else. */
  readonly record: (title: string, value: unknown) => void;
  /** Records links, addresses, rules, files and so on, of the host and of its namespaces. */
  readonly recordState: (title: string) => Promise<void>;
}

/** Puts what is tested into a folder as `weft install` does; kept between test runs. */
export async function installMode(mode: Mode): Promise<string> {
  const folder = path.join(repository, 'dist/test', mode);
  const argv = [weftOnHost, 'install', '--bin-dir', folder, '--host-bin-dir', binDir];
  for (const deadline = Date.now() + 120_000; ; await sleep(200)) {
    const kind = mode === 'clients' ? '--client' : '--no-client';
    const {code, stderr} = await runCommand([...argv, kind], {env: {}, mayFail: true, timeoutMs: 60_000});
    if (code === 0) return folder;
    // Other test files need it at the same moment.
    if (!/another `weft install`/.test(stderr) || Date.now() > deadline) throw new Error(stderr);
  }
}

/**
 * Runs a scenario on a host of each mode, and fails the test for whatever it recorded differently. Gives how many calls
 * the agent served, and how many it left to the client.
 */
export async function compareModes(
  t: ExecutionContext,
  scenario: (host: ModeHost) => Promise<void>,
): ReturnType<TestAgent['countCalls']> {
  const folders = {stubs: await installMode('stubs'), clients: await installMode('clients')};
  const run = async (mode: Mode) => {
    const host = await makeHost(t, {plugins: folders[mode], agent: false});
    // On either: some plugins ask whether there is one. Only clients let it serve their calls.
    const agent = await startAgentOn(host, {weft: `${binDir}/weft`});
    const records = new Map<string, unknown>();
    await scenario(makeModeHost(host, mode, records));
    return {records, counts: await agent.countCalls()};
  };
  const [stubs, clients] = await Promise.all([run('stubs'), run('clients')]);
  t.deepEqual([...clients.records.keys()].toSorted(), [...stubs.records.keys()].toSorted());
  t.is(stubs.counts.served, 0);
  for (const [title, value] of stubs.records) {
    const other = clients.records.get(title);
    if (isDeepStrictEqual(other, value)) continue;
    // Of long lists only what differs.
    const [left, right] = [other, value].map((each, i, both) => {
      const rest = both[1 - i];
      return Array.isArray(each) && Array.isArray(rest) ? each.filter((line) => !rest.includes(line)) : each;
    });
    t.deepEqual(left, right, `clients (-) and stubs (+) differ: ${title}`);
    t.deepEqual(other, value, `clients (-) and stubs (+) differ: ${title}`);
  }
  t.log(
    `${stubs.records.size} records; the agent served ${clients.counts.served} calls, and left ${clients.counts.refused}`,
  );
  return clients.counts;
}

function makeModeHost(host: TestHost, mode: Mode, records: Map<string, unknown>): ModeHost {
  const record = (title: string, value: unknown) => {
    if (records.has(title)) throw new Error(`two records are called ${title}`);
    records.set(title, value);
  };
  return {
    host,
    mode,
    record,
    async call(title, call) {
      const output = await callOn(host, call);
      const {code, signal, stdout, stderr} = output;
      record(title, {code, signal, stdout: normalize(stdout), stderr: normalize(stderr)});
      return output;
    },
    async recordState(title) {
      const {stdout} = await host.sh(stateScript, {log: () => {}, timeoutMs: 60_000});
      record(title, normalize(stdout).split('\n'));
    },
  };
}

async function callOn(host: TestHost, call: ModeCall): Promise<Output & {reply: Reply | undefined}> {
  const {type, command, conf, prevResult, containerId = '', netns = '', ifName = 'eth0'} = call;
  const stdin = call.stdin ?? JSON.stringify({...conf, type, ...(prevResult !== undefined && {prevResult})});
  const env = {
    PATH: `${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`,
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: ifName,
    CNI_ARGS: '',
    CNI_PATH: binDir,
    ...call.env,
  };
  const file = `${binDir}/${type}`;
  const argv = call.script === undefined ? [file] : ['/bin/bash', '--norc', '-c', call.script, file];
  const output = await host.run(argv, {env, stdin, mayFail: true, log: () => {}});
  return {...output, reply: parse(output.stdout)};
}

function parse(text: string): Reply | undefined {
  try {
    return JSON.parse(text) as Reply;
  } catch {
    return undefined;
  }
}

/** Random hardware addresses and what follows from them, times, process ids, inode numbers, and counters of packets. */
function normalize(text: string): string {
  const macs = new Map<string, string>();
  return text
    .replaceAll(/\b[0-9a-f]{4}\.(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}\b/g, '<bridge>')
    .replaceAll(/\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b/g, (mac) => {
      if (/^(00:){5}00$|^(ff:){5}ff$/.test(mac)) return mac;
      if (!macs.has(mac)) macs.set(mac, `<mac ${macs.size}>`);
      return macs.get(mac)!;
    })
    .replaceAll(/\bfe80::[0-9a-f:]+/g, '<link-local>')
    .replaceAll(/"(time|tookMs|pid|stack)":("(?:[^"\\]|\\.)*"|\d+)/g, '"$1":0')
    .replaceAll(/(\/run\/weft\/host-local\/[\w-]+)\.\d+-\d+/g, '$1')
    .replaceAll(/packets \d+ bytes \d+/g, 'packets 0 bytes 0')
    .replaceAll(/direct_packets_stat \d+/g, 'direct_packets_stat 0')
    .replaceAll(/(link-netns(?:id)?) \S+/g, '$1')
    .replaceAll(/\bindex \d+ ref/g, 'index ref')
    .replaceAll(/ # handle \d+| linkdown\b/g, '');
}

/** Everything a plugin may change; not clocks, carriers, which follow a moment later, and the kernel's own link-local routes. */
const stateScript = `
set +e
network() {
  echo "== $1"; shift
  "$@" ip -d address | sed 's/ promiscuity.*//; s/valid_lft.*//; s/ state [A-Z]*//; s/NO-CARRIER,//; s/,LOWER_UP//; s/_timer *[0-9.]*//g; /inet6 fe80:/s/ tentative//'
  "$@" ip -d link | grep -o 'vlan_filtering [01]\\|hairpin o[nf]*\\|isolated o[nf]*\\|mcast_flood o[nf]*'
  for family in 4 6; do "$@" ip -$family route show table all | grep -v 'fe80::\\|ff00::' | sort; "$@" ip -$family rule; done
  "$@" nft list ruleset
  for tool in iptables ip6tables; do "$@" $tool-nft-save 2>/dev/null | grep -v '^#'; done
  "$@" tc qdisc; "$@" tc filter show parent ffff: 2>/dev/null
  for key in net.ipv4.ip_forward net.ipv6.conf.all.forwarding net.ipv4.conf.all.arp_notify net.core.somaxconn; do "$@" sysctl $key; done
}
network host
for netns in /run/netns/*; do network "$netns" nsenter --net="$netns"; done
echo '== files'
find /run /var/lib/cni /var/log /etc/cni -xdev \\( -path /run/machine -o -path /run/netns \\) -prune -o \\( -type f -o -type d \\) \\
  ! -path '/run/weft' ! -path '/run/home*' -printf '%M %u %p %l\\n' | sort
for file in $(find /var/lib/cni /run/weft /var/log /run/data -xdev -type f 2>/dev/null | sort); do
  echo "-- $file"; case $file in */index*|*.index|/run/weft/host-local/*) ;; *) cat "$file"; echo ;; esac
done
true
`;
