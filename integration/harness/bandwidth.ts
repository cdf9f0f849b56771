import type {ExecutionContext} from 'ava';
import {attach, type Attached} from './attachment.ts';
import type {TestHost} from './host.ts';
import {bridgeNetwork} from './networks.ts';
import {callPlugin, tryPlugin, type PluginCall, type Reply} from './plugin.ts';

/** 40 Mbit/s to the container, 20 from it. */
export const limits = {
  ingressRate: 40_000_000,
  ingressBurst: 4_000_000,
  egressRate: 20_000_000,
  egressBurst: 2_000_000,
};

/** A container on a bridge, and the call that limits it. */
export interface Limited extends Attached {
  readonly call: Omit<PluginCall, 'command'>;
}

/** Attaches a container to the bridge of network `limited`; `limit` sets what `keys` say. */
export async function prepare(
  host: TestHost,
  name: string,
  keys: object,
  {cniVersion = '1.1.0', dir}: {readonly cniVersion?: string; readonly dir?: string} = {},
): Promise<Limited> {
  const network = bridgeNetwork({name: 'limited', cniVersion, ipMasq: false, isDefaultGateway: true});
  const attached = await attach(host, name, network);
  const {netns, containerId, result} = attached;
  const conf = {cniVersion, name: 'limited', type: 'bandwidth', ...keys};
  return {...attached, call: {conf, netns, containerId, prevResult: result, ...(dir && {dir})}};
}

export function limit(host: TestHost, {call}: Limited): Promise<Reply> {
  return callPlugin(host, {...call, command: 'ADD'});
}

/** The call has to fail; message and details have to match. */
export async function assertFails(
  t: ExecutionContext,
  host: TestHost,
  call: PluginCall,
  message: RegExp,
): Promise<void> {
  const {code, reply} = await tryPlugin(host, call);
  t.is(code, 1);
  t.regex(`${reply?.msg} ${reply?.details ?? ''}`, message);
}

/** The names of all ifb devices of the host. */
export async function listIfbs(host: TestHost): Promise<string[]> {
  const {stdout} = await host.run(['ip', '-j', 'link', 'show', 'type', 'ifb']);
  // Links of other kinds are empty objects.
  const links = JSON.parse(stdout || '[]') as {readonly ifname?: string}[];
  return links.flatMap(({ifname}) => ifname ?? []).sort();
}
