import {parseArgs} from 'node:util';
import {withStore} from '../lib/store/store.ts';
import {formatRange, sizeOf} from '../plugins/host-local/range.ts';
import {countUse} from '../plugins/host-local/usage.ts';
import type {Command} from './command.ts';
import {listHostLocalNetworks} from './host-local-networks.ts';
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
  summary: 'show the networks, their address ranges and how many addresses are in use',
  usage: `weft status [options]

  --json            print {"networks": [{"name", "dataDir", "used", "sets": [{"ranges", "used", "free"}]}]}
  --conf-dir DIR    folder of network configurations (default /etc/cni/net.d)
  --data-dir DIR    where reservations are, whatever the configurations say (default: what they say, and
                    /var/lib/cni/networks)

Shows networks that get their addresses from host-local, and directories of reservations without a configuration.`,
  async run({args, out, err}) {
    const {values} = parseArgs({
      args: [...args],
      options: {
        json: {type: 'boolean', default: false},
        'conf-dir': {type: 'string', default: '/etc/cni/net.d'},
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
    if (values.json) out(JSON.stringify({networks: found}, asNumber, 2));
    else if (found.length === 0) out('there is no network with addresses from host-local');
    else for (const line of formatTable(found)) out(line);
    return 0;
  },
};

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

function formatTable(networks: readonly NetworkStatus[]): string[] {
  const rows = networks.flatMap(({name, dataDir, used, sets}) =>
    sets
      ? sets.map((set) => [name, set.ranges.join(','), String(set.used), set.free.toLocaleString('en')])
      : [[name, `no configuration; ${dataDir}`, String(used), '-']],
  );
  const table = [['NETWORK', 'RANGES', 'USED', 'FREE'], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]!.length)));
  return table.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  );
}
