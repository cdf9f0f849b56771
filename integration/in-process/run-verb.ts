import {runPlugin} from '../../lib/cni/skel.ts';
import type {Plugin} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';

export interface VerbCall {
  readonly command: string;
  readonly netns: string;
  /** The whole configuration, as JSON. */
  readonly conf: string;
  /** The plugin that IPAM is, if it is asked. */
  readonly ipam?: Plugin<Host>;
}

export interface VerbOutcome {
  readonly code: number;
  readonly stdout: string;
}

/** Runs a verb of a plugin in this process, for the container "c" and its "eth0", and closes the host. */
export async function runVerb(
  plugin: Plugin<Host>,
  {command, netns, conf, ipam}: VerbCall,
  host: Host,
): Promise<VerbOutcome> {
  let stdout = '';
  const env = {
    CNI_COMMAND: command,
    CNI_CONTAINERID: 'c',
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
    stderr: () => {},
  };
  const code = await runPlugin(plugin, io, host, () => ipam);
  host.close();
  return {code, stdout};
}
