import {runPlugin, type FindBuiltin} from '../../lib/cni/skel.ts';
import type {Plugin} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';

export interface VerbCall {
  readonly command: string;
  readonly netns: string;
  /** "c" by default. */
  readonly containerId?: string;
  /** The whole configuration, as JSON. */
  readonly conf: string;
  /** The plugin that IPAM is, if it is asked. */
  readonly ipam?: Plugin<Host>;
  /** The plugin that each file is, where there are several delegates. */
  readonly findBuiltin?: FindBuiltin<Host>;
}

export interface VerbOutcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a verb of a plugin in this process, for a container's eth0, and closes the host. */
export async function runVerb(
  plugin: Plugin<Host>,
  {command, netns, containerId = 'c', conf, ipam, findBuiltin}: VerbCall,
  host: Host,
): Promise<VerbOutcome> {
  let stdout = '';
  let stderr = '';
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: containerId,
    CNI_NETNS: netns,
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
    PATH: process.env['PATH'] ?? '',
  };
  const io = {
    env,
    stdin: async () => conf,
    stdout: async (text: string) => {
      stdout += text;
    },
    stderr: (text: string) => {
      stderr += text;
    },
  };
  const code = await runPlugin(plugin, io, host, findBuiltin ?? (() => ipam));
  host.close();
  return {code, stdout, stderr};
}
