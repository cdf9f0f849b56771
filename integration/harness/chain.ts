import {toolPath} from './debian.ts';
import type {TestHost} from './host.ts';
import {callPlugin, type PluginCall, type Reply} from './plugin.ts';

/** A conflist as a runtime reads it. */
export interface Conflist {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly (Readonly<Record<string, unknown>> & {
    readonly type: string;
    readonly capabilities?: Readonly<Record<string, boolean>>;
  })[];
}

/** What a chain's calls for one container have in common. */
export interface ChainCall {
  readonly conflist: Conflist;
  readonly containerId: string;
  readonly netns: string;
  /** By capability, for the plugins that declare it. */
  readonly capabilityArgs?: Readonly<Record<string, unknown>>;
  readonly dir?: string;
  /** Put before each plugin's path, by its type. */
  readonly under?: (type: string) => readonly string[];
  readonly options?: PluginCall['options'];
}

/** What one plugin of a chain is given on stdin, but for prevResult. */
export function configurationOf(
  {cniVersion, name}: Conflist,
  {capabilities = {}, ...plugin}: Conflist['plugins'][number],
  capabilityArgs: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> & {readonly type: string} {
  const wanted = Object.entries(capabilityArgs).filter(([key]) => capabilities[key]);
  return {
    ...plugin,
    cniVersion,
    name,
    ...(wanted.length > 0 && {runtimeConfig: Object.fromEntries(wanted)}),
  };
}

/** ADD of each plugin, with the result of the one before it; returns the last one's. */
export async function addChain(host: TestHost, call: ChainCall): Promise<Reply> {
  let prevResult: Reply | undefined;
  for (const plugin of call.conflist.plugins)
    prevResult = await callPlugin(host, {...pluginCall(call, plugin, prevResult), command: 'ADD'});
  return prevResult ?? {};
}

/** DEL of each plugin, the last one first, with the chain's result. */
export async function delChain(host: TestHost, call: ChainCall, result: Reply): Promise<void> {
  for (const plugin of call.conflist.plugins.toReversed())
    await callPlugin(host, {...pluginCall(call, plugin, result), command: 'DEL'});
}

function pluginCall(
  {conflist, capabilityArgs, under, containerId, netns, dir, options}: ChainCall,
  plugin: Conflist['plugins'][number],
  prevResult?: Reply,
): Omit<PluginCall, 'command'> {
  return {
    containerId,
    netns,
    ...(dir !== undefined && {dir}),
    ...(options !== undefined && {options}),
    conf: configurationOf(conflist, plugin, capabilityArgs),
    ...(prevResult !== undefined && {prevResult}),
    ...(under !== undefined && {under: under(plugin.type)}),
  };
}

/** What a traced call asked of the system, its children's share included. */
export interface CallCounts {
  /** Programs executed, beyond the traced one. */
  readonly processes: number;
  /** Calls that send to a netlink socket: a transaction of many messages is one. */
  readonly sends: number;
  /** Bytes of the kernel's answers. */
  readonly received: number;
}

// What the kernel says of a link, generously.
const linkBytes = 2048;

/**
 * Whether two calls asked the same, but for one question: a DEL looks whether its link is gone, which the kernel may have
 * answered before, or with the link, because it is still there.
 */
export function areAlike(one: CallCounts, other: CallCounts): boolean {
  return (
    one.processes === other.processes &&
    Math.abs(one.sends - other.sends) <= 1 &&
    Math.abs(one.received - other.received) <= linkBytes
  );
}

/** The command line that traces what `countCalls` reads into `file`. */
export function countingCalls(file: string): string[] {
  const calls = ['execve', 'execveat', 'sendto', 'sendmsg', 'recvfrom', 'recvmsg'];
  return [toolPath('strace'), '-f', '-qq', '-yy', '-s', '0', '-o', file, '-e', `trace=${calls.join(',')}`];
}

/** Reads a trace of `countingCalls`. */
export function countCalls(trace: string): CallCounts {
  let [executed, sends, received] = [0, 0, 0];
  // A call during which another thread ran has two lines: the first names the socket, the second the outcome.
  const unfinished = new Set<string>();
  for (const line of trace.split('\n')) {
    const [, thread = '', name = ''] = /^(\d+) +(?:<\.\.\. )?(\w+)/.exec(line) ?? [];
    const call = `${thread} ${name}`;
    if (name.startsWith('execve')) executed += line.endsWith(' = 0') ? 1 : 0;
    else if (line.includes('<NETLINK:') || unfinished.delete(call)) {
      const isWhole = !line.endsWith('<unfinished ...>');
      if (!isWhole) unfinished.add(call);
      else if (name.startsWith('send')) sends++;
      else received += Number(/ = (\d+)$/.exec(line)?.[1] ?? 0);
    }
  }
  return {processes: executed - 1, sends, received};
}
