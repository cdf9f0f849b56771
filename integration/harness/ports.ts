import {once} from 'node:events';
import type {ChildProcess} from 'node:child_process';
import {attach, type Attached} from './attachment.ts';
import type {TestHost} from './host.ts';
import {bridgeNetwork} from './networks.ts';
import {repository} from './paths.ts';
import {callPlugin, tryPlugin, type PluginCall, type PluginOutcome} from './plugin.ts';

const worker = `${repository}/integration/harness/port-worker.ts`;

/** One entry of runtimeConfig.portMappings. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol?: string;
  readonly hostIP?: string;
}

/** Asks one port of somebody, and what it answers. */
export interface Question {
  readonly protocol?: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  readonly source?: string;
  readonly sourcePort?: number;
}

/** Answers, in a namespace, on TCP and UDP ports with "NAME sees ADDRESS". */
export async function serve(
  host: TestHost,
  netns: string,
  name: string,
  ...ports: number[]
): Promise<ChildProcess> {
  const argv = [process.execPath, '--no-warnings', worker, 'serve', name, ...ports.map(String)];
  const child = host.start(host.inNetns(netns, argv));
  await once(child.stdout!, 'data');
  return child;
}

/** What the ports answer, in this order; an error's code where they do not. From the host itself unless `from` a namespace. */
export async function ask(
  host: TestHost,
  from: string | undefined,
  ...questions: Question[]
): Promise<string[]> {
  const list = questions.map((question) => ({protocol: 'tcp', ...question}));
  const argv = [process.execPath, '--no-warnings', worker, 'ask', JSON.stringify(list)];
  const {stdout} = await host.run(from === undefined ? argv : host.inNetns(from, argv));
  return JSON.parse(stdout) as string[];
}

/** A portmap call of a container that bridge attached. */
export interface Mapped {
  readonly attached: Attached;
  readonly call: Omit<PluginCall, 'command'>;
}

export function portmapConf(
  name: string,
  mappings: readonly PortMapping[],
  more: Readonly<Record<string, unknown>> = {},
): PluginCall['conf'] {
  return {
    cniVersion: '1.0.0',
    name,
    type: 'portmap',
    capabilities: {portMappings: true},
    ...(mappings.length > 0 && {runtimeConfig: {portMappings: mappings}}),
    ...more,
  };
}

/** Attaches a container with bridge (dual stack, see `bridgeNetwork`) and maps its ports. */
export async function attachMapped(
  host: TestHost,
  name: string,
  mappings: readonly PortMapping[],
  {
    bridge = {},
    portmap = {},
    dir,
  }: {bridge?: object; portmap?: Readonly<Record<string, unknown>>; dir?: string} = {},
): Promise<Mapped> {
  const network = 'ports';
  const attached = await attach(host, name, bridgeNetwork({name: network, hairpinMode: true, ...bridge}));
  const call = {
    conf: portmapConf(network, mappings, portmap),
    containerId: name,
    netns: attached.netns,
    prevResult: attached.result,
    ...(dir !== undefined && {dir}),
  };
  await callPlugin(host, {...call, command: 'ADD'});
  return {attached, call};
}

export async function unmap(host: TestHost, {call}: Mapped, more: Partial<PluginCall> = {}): Promise<void> {
  await callPlugin(host, {...call, ...more, command: 'DEL'});
}

export function checkMapped(host: TestHost, {call}: Mapped): Promise<PluginOutcome> {
  return tryPlugin(host, {...call, command: 'CHECK'});
}
