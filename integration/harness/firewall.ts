import {attach} from './attachment.ts';
import type {Attached} from './attachment.ts';
import type {TestHost} from './host.ts';
import {bridgeNetwork} from './networks.ts';
import {callPlugin} from './plugin.ts';
import type {PluginCall} from './plugin.ts';

/** The network of most tests. */
export const network = bridgeNetwork({name: 'guarded', cniVersion: '1.1.0', bridge: 'cni0'});

export const firewall = {cniVersion: '1.1.0', name: 'guarded', type: 'firewall'} as const;

/** A container behind a bridge, and its calls of the firewall plugin. */
export interface Guarded extends Attached {
  readonly call: Omit<PluginCall, 'command'>;
}

/** Attaches a container with the bridge plugin, and readies what is to be asked of the firewall. */
export async function prepare(
  host: TestHost,
  name: string,
  conf: Readonly<Record<string, unknown>> = firewall,
  bridge: Readonly<Record<string, unknown>> = network,
): Promise<Guarded> {
  const attached = await attach(host, name, bridge);
  return {...attached, call: {conf, netns: attached.netns, containerId: name, prevResult: attached.result}};
}

/** As `prepare`, and lets its traffic through. */
export async function guard(...args: Parameters<typeof prepare>): Promise<Guarded> {
  const guarded = await prepare(...args);
  await callPlugin(args[0], {...guarded.call, command: 'ADD'});
  return guarded;
}

/** Whether each of the addresses answers a ping from a namespace. */
export function pingAll(host: TestHost, from: string, addresses: readonly string[]): Promise<boolean[]> {
  return Promise.all(
    addresses.map(async (address) => {
      const argv = host.inNetns(from, ['ping', '-c', '1', '-W', '2', address]);
      // Replies count, not exit codes: an answer of a host on the way is no answer.
      const {stdout} = await host.run(argv, {mayFail: true, timeoutMs: 30_000});
      return / 1 received/.test(stdout);
    }),
  );
}

/** The rules and chains of both families' filter tables, without counters. */
export async function saveFilter(host: TestHost, variant: 'nft' | 'legacy'): Promise<string[]> {
  const {stdout} = await host.sh(`iptables-${variant}-save -t filter; ip6tables-${variant}-save -t filter`);
  return stdout
    .split('\n')
    .filter((line) => /^(:|-)/.test(line))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''));
}

/** All nftables, without the counters' values. */
export async function listRuleset(host: TestHost): Promise<string> {
  return (await host.run(['nft', 'list', 'ruleset'])).stdout.replaceAll(
    /packets \d+ bytes \d+/g,
    'packets 0 bytes 0',
  );
}
