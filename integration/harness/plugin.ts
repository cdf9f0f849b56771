import path from 'node:path';
import type {CommandOptions, Output} from './command.ts';
import {binOf, findPackages} from './debian.ts';
import type {TestHost} from './host.ts';
import {pluginDir} from './paths.ts';

/** Directory of Debian's Go plugins, once the `reference` packages were fetched. */
export function referenceDir(): string {
  const root = findPackages('reference');
  if (root === undefined)
    throw new Error('the reference plugins were not fetched: ensurePackages("reference")');
  return path.join(root, 'usr/lib/cni');
}

/** One call of a plugin's executable, as a runtime makes it. */
export interface PluginCall {
  readonly command: 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS' | 'VERSION';
  /** The whole network configuration; `type` names the executable. */
  readonly conf: Readonly<Record<string, unknown>>;
  readonly containerId?: string;
  readonly netns?: string;
  readonly ifName?: string;
  readonly args?: string;
  /** Directory of the plugins; ours by default. */
  readonly dir?: string;
  readonly prevResult?: unknown;
  /** What is still in use, for GC. */
  readonly attachments?: readonly {readonly containerID: string; readonly ifname: string}[];
  /** Put before the plugin's path: `strace …`. */
  readonly under?: readonly string[];
  readonly options?: CommandOptions;
}

/** What a plugin may print: a result, an error or its versions. */
export interface Reply {
  readonly cniVersion?: string;
  readonly interfaces?: readonly {readonly name: string; readonly mac?: string; readonly sandbox?: string}[];
  readonly ips?: readonly {
    readonly address: string;
    readonly gateway?: string;
    readonly interface?: number;
    readonly version?: string;
  }[];
  readonly routes?: readonly {readonly dst: string; readonly gw?: string}[];
  readonly dns?: Readonly<Record<string, unknown>>;
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
  readonly supportedVersions?: readonly string[];
}

/** An outcome of a plugin call; `reply` is what it printed, or undefined when that was not JSON. */
export interface PluginOutcome extends Output {
  readonly reply: Reply | undefined;
}

/** Runs a plugin on a test host, in the host's own network namespace, whatever comes of it. */
export async function tryPlugin(host: TestHost, call: PluginCall): Promise<PluginOutcome> {
  const {command, conf, containerId, netns, ifName = 'eth0', args, dir = pluginDir, prevResult} = call;
  const stdin = {
    ...conf,
    ...(prevResult === undefined ? {} : {prevResult}),
    ...(call.attachments === undefined
      ? {}
      : {'cni.dev/valid-attachments': call.attachments, 'cni.dev/attachments': call.attachments}),
  };
  const output = await host.run([...(call.under ?? []), path.join(dir, String(conf['type']))], {
    mayFail: true,
    ...call.options,
    stdin: JSON.stringify(stdin),
    env: {
      // The reference finds iptables by this.
      PATH: `${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`,
      ...call.options?.env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId ?? '',
      CNI_NETNS: netns ?? '',
      CNI_IFNAME: ifName,
      CNI_ARGS: args ?? '',
      CNI_PATH: dir,
    },
  });
  return {...output, reply: parse(output.stdout)};
}

/** As `tryPlugin`, for a call that must succeed: returns what it printed. */
export async function callPlugin(host: TestHost, call: PluginCall): Promise<Reply> {
  const {code, reply, stdout, stderr} = await tryPlugin(host, call);
  if (code === 0) return reply ?? {};
  throw new Error(`${call.command} of ${String(call.conf['type'])}: exit ${code}\n${stdout}\n${stderr}`);
}

function parse(text: string): Reply | undefined {
  try {
    return JSON.parse(text) as Reply;
  } catch {
    return undefined;
  }
}
