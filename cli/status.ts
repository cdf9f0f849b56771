import {parseArgs} from 'node:util';
import {withStore} from '../lib/store/store.ts';
import {formatRange, sizeOf} from '../plugins/host-local/range.ts';
import {countUse} from '../plugins/host-local/usage.ts';
import {defaultRunDir} from './agent-api.ts';
import {describeAgent, findAgentStatus} from './agent-status.ts';
import type {Command} from './command.ts';
import {layoutOf} from './installation/layout.ts';
import {describeKind, findInstalled, type Installed} from './installation/state.ts';
import {listHostLocalNetworks} from './host-local-networks.ts';
import {formatTable} from './table.ts';
import type {HostLocalNetwork} from './host-local-networks.ts';

/** What `weft status --json` says of a network. */
interface NetworkStatus {
  readonly name: string;
  readonly dataDir: string;
  /** Addresses in use, in today's ranges or not. */
  readonly used: number;
  /** Absent where the configuration is not known. */
  readonly sets?: readonly {
    readonly ranges: readonly string[];
    readonly used: number;
    readonly free: bigint;
  }[];
}

/** `weft status` */
export const status: Command = {
  summary: 'show the networks, their addresses in use, and what is installed',
  usage: `weft status [options]

  --json            print {"networks": [{"name", "dataDir", "used", "sets": [{"ranges", "used", "free"}]}],
                    "installed": {"binDir", "version", "files": "stubs" or "clients", "socket"},
                    "agent": what the agent says of itself and of its modules, where one runs}
  --run-dir DIR     where the agent has its sockets (default ${defaultRunDir})
  --conf-dir DIR    folder of network configurations (default /etc/cni/net.d)
  --bin-dir DIR     folder of plugins (default /opt/cni/bin)
  --data-dir DIR    where reservations are, whatever the configurations say (default: what they say, and
                    /var/lib/cni/networks)

Shows networks that get their addresses from host-local, directories of reservations without a configuration, which weft is
installed how, and of the agent the overlay networks with their peers, and what differs from what is desired.`,
  async run({args, out, err}) {
    const {values} = parseArgs({
      args: [...args],
      options: {
        json: {type: 'boolean', default: false},
        'run-dir': {type: 'string', default: defaultRunDir},
        'conf-dir': {type: 'string', default: '/etc/cni/net.d'},
        'bin-dir': {type: 'string', default: '/opt/cni/bin'},
        'data-dir': {type: 'string'},
      },
    });
    const networks = listHostLocalNetworks({
      confDir: values['conf-dir'],
      dataDir: values['data-dir'],
      warn: (message) => err(`weft status: ${message}`),
    });
    const found: NetworkStatus[] = [];
    for (const network of networks) found.push(await statusOf(network));
    const installed = findInstalled(layoutOf(values['bin-dir']));
    const agent = await findAgentStatus(values['run-dir'], (message) => err(`weft status: ${message}`));
    if (values.json) {
      const about = installed && summarize(installed, values['bin-dir']);
      const shown = {networks: found, ...(about && {installed: about}), ...(agent && {agent})};
      out(JSON.stringify(shown, asNumber, 2));
      return 0;
    }
    if (found.length === 0) out('there is no network with addresses from host-local');
    else for (const line of formatTable(rowsOf(found))) out(line);
    if (installed) out(`weft ${installed.version} in ${values['bin-dir']}: ${describeKind(installed)}`);
    if (agent) for (const line of describeAgent(agent)) out(line);
    return 0;
  },
};

function summarize({version, client}: Installed, binDir: string) {
  return {binDir, version, files: client === undefined ? 'stubs' : 'clients', ...client};
}

/** JSON has no integers beyond 2^53: what is larger, an IPv6 subnet, is rounded. */
function asNumber(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? Number(value) : value;
}

async function statusOf(network: HostLocalNetwork): Promise<NetworkStatus> {
  const {network: name, dataDir, sets} = network;
  const count = await withStore({...network, create: false}, (store) => ({
    used: store.countAll(),
    sets: sets?.map((set) => countUse(store, set)),
  }));
  return {
    name,
    dataDir,
    used: count?.used ?? 0,
    ...(sets && {
      sets: sets.map((set, i) => {
        const {used, free} = count?.sets?.[i] ?? {used: 0, free: sizeOf(set)};
        return {ranges: set.map(formatRange), used, free};
      }),
    }),
  };
}

function rowsOf(networks: readonly NetworkStatus[]): string[][] {
  const rows = networks.flatMap(({name, dataDir, used, sets}) =>
    sets
      ? sets.map((set) => [name, set.ranges.join(','), String(set.used), set.free.toLocaleString('en')])
      : [[name, `no configuration; ${dataDir}`, String(used), '-']],
  );
  return [['NETWORK', 'RANGES', 'USED', 'FREE'], ...rows];
}
