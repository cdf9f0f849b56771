import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {createHost} from '../lib/host.ts';
import {findOverlayRemains, formatOverlayRemains, removeOverlayRemains} from '../lib/overlay/teardown.ts';
import {askAgent, defaultRunDir} from './agent-api.ts';
import {UsageError, type Command} from './command.ts';

/** `weft overlay` */
export const overlay: Command = {
  summary: 'remove what overlay networks have on this host',
  usage: `weft overlay cleanup [options]

  --network NAME    only this network (routes to peers on the same segment stay: they name none)
  --dry-run         only say what would be removed
  --force           also while an agent runs, which will make it again
  --run-dir DIR     the agent's folder (default ${defaultRunDir})

Neither the end of the agent nor that of its configuration removes anything: containers go on reaching each other. This
does: devices, neighbours, routes, nftables, the subnet file. Containers keep their interfaces, and reach no other host.`,
  async run({args, out}) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        network: {type: 'string'},
        'dry-run': {type: 'boolean', default: false},
        force: {type: 'boolean', default: false},
        'run-dir': {type: 'string', default: defaultRunDir},
      },
    });
    if (positionals[0] !== 'cleanup' || positionals.length > 1) throw new UsageError('it takes "cleanup"');
    const {network, force} = values;
    const isDryRun = values['dry-run'];
    if (!isDryRun && !force && (await isAgentThere(values['run-dir'])))
      throw new Error(
        'an agent runs here and would make it again: stop it (systemctl stop weft-agent), or add --force',
      );
    const host = createHost();
    try {
      const runDir = join(values['run-dir'], 'overlay');
      const remains = await findOverlayRemains(host, {network, runDir});
      const lines = formatOverlayRemains(remains);
      if (lines.length === 0) out('there is nothing of overlay networks here');
      for (const line of lines) out(`${isDryRun ? 'would remove' : 'removing'} ${line}`);
      if (!isDryRun) await removeOverlayRemains(host, remains, {runDir});
      return 0;
    } finally {
      host.close();
    }
  },
};

async function isAgentThere(runDir: string): Promise<boolean> {
  try {
    return (await askAgent('/livez', {runDir})) !== undefined;
  } catch {
    // A socket that nobody listens on is left over.
    return false;
  }
}
