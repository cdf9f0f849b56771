import {existsSync} from 'node:fs';
import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {defaultCacheFolder} from '../lib/cni/runtime/cache.ts';
import {formatIp} from '../lib/ip/address.ts';
import {openReclaimer} from '../lib/store/reclaim.ts';
import type {Reclaimer} from '../lib/store/reclaim.ts';
import type {Holder, Reservation} from '../lib/store/reservation.ts';
import {withStore} from '../lib/store/store.ts';
import type {Store} from '../lib/store/store.ts';
import {UsageError} from './command.ts';
import type {Command} from './command.ts';
import {listHostLocalNetworks} from './host-local-networks.ts';

/** A reservation this young may belong to an ADD that is not done: its container shows nowhere yet. */
const settleMs = 10 * 60_000;

/** `weft gc` */
export const gc: Command = {
  summary: 'give back addresses that are reserved for containers which are gone',
  usage: `weft gc <network> [options]

  --dry-run          only say what would be removed
  --unlisted         remove also what this boot reserved, where neither the runtime's result cache names a network
                     namespace that exists nor any namespace has the address; not in the first ten minutes
  --conf-dir DIR     folder of network configurations (default /etc/cni/net.d)
  --data-dir DIR     where reservations are (default: what the network's configuration says, else /var/lib/cni/networks)
  --cache-dir DIR    the runtime's cache (default ${defaultCacheFolder})

Removes reservations that are older than this boot and whose container is not there, and files that a crash left empty.
A runtime that supports the verb GC knows better which containers there are; this is for those that do not.`,
  async run({args, out, err}) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        'dry-run': {type: 'boolean', default: false},
        unlisted: {type: 'boolean', default: false},
        'conf-dir': {type: 'string', default: '/etc/cni/net.d'},
        'data-dir': {type: 'string'},
        'cache-dir': {type: 'string', default: defaultCacheFolder},
      },
    });
    const [name, ...more] = positionals;
    if (name === undefined || more.length > 0) throw new UsageError('it takes one network');
    const cacheFolder = values['cache-dir'];
    if (values.unlisted && !existsSync(join(cacheFolder, 'results'))) {
      throw new Error(
        `${join(cacheFolder, 'results')} is not there: without the runtime's cache --unlisted would guess`,
      );
    }
    const warn = (message: string) => err(`weft gc: ${message}`);
    const networks = listHostLocalNetworks({confDir: values['conf-dir'], dataDir: values['data-dir'], warn});
    const network = networks.find((each) => each.network === name);
    if (!network) throw new Error(`there is no network "${name}" with addresses from host-local`);
    const isDryRun = values['dry-run'];
    const {unlisted} = values;
    const plan = await withStore({...network, create: false}, (store) => {
      const made = planCollection(store, {
        reclaimer: openReclaimer(store, {network: name, cacheFolder}),
        unlisted,
        nowMs: Date.now(),
      });
      if (!isDryRun) collect(store, made);
      return made;
    });
    for (const line of describe(plan ?? {empty: [], stale: [], kept: 0, unlisted: 0}, isDryRun)) out(line);
    return 0;
  },
};

export interface Plan {
  readonly empty: readonly Reservation['ip'][];
  readonly stale: readonly (Reservation & {readonly why: string})[];
  readonly kept: number;
  /** Of those kept, how many `--unlisted` would remove. */
  readonly unlisted: number;
}

/** What is to be removed; reads every reservation of the network. */
export function planCollection(
  store: Store,
  {
    reclaimer,
    unlisted,
    nowMs,
  }: {readonly reclaimer: Reclaimer; readonly unlisted: boolean; readonly nowMs: number},
): Plan {
  const reservations = store.listOthers([]);
  const old = reservations.filter(({ip}) => reclaimer.isReclaimable(ip));
  const gone = reservations.filter(
    (each) => !old.includes(each) && isSettled(store, each, nowMs) && !reclaimer.isAlive(each),
  );
  const collected = unlisted ? gone : [];
  return {
    empty: store.listEmpty(),
    stale: [
      ...old.map((each) => ({...each, why: 'left by an earlier boot'})),
      ...collected.map((each) => ({...each, why: 'its container is not there'})),
    ],
    kept: reservations.length - old.length - collected.length,
    unlisted: gone.length - collected.length,
  };
}

function isSettled(store: Store, {ip}: Reservation, nowMs: number): boolean {
  const age = store.findAge(ip);
  return age !== undefined && nowMs - age.latestMs > settleMs;
}

function collect(store: Store, {empty, stale}: Plan): void {
  for (const ip of empty) store.removeEmpty(ip);
  for (const reservation of stale) store.release(reservation);
}

function describe({empty, stale, kept, unlisted}: Plan, isDryRun: boolean): string[] {
  const verb = isDryRun ? 'would remove' : 'removed';
  return [
    ...stale.map(({ip, holder, why}) => `${verb} ${formatIp(ip)}: ${formatHolderForPeople(holder)}, ${why}`),
    ...empty.map((ip) => `${verb} ${formatIp(ip)}: empty, left by a crash`),
    `${verb} ${stale.length + empty.length}, kept ${kept}`,
    ...(unlisted > 0
      ? [`${unlisted} of those kept seem to be of containers that are gone: --unlisted removes them`]
      : []),
  ];
}

function formatHolderForPeople({containerId, ifName}: Holder): string {
  return ifName === undefined ? containerId : `${containerId} ${ifName}`;
}
