import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {IpConfig} from '../../lib/cni/types.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {openReclaimer} from '../../lib/store/reclaim.ts';
import type {Reclaimer} from '../../lib/store/reclaim.ts';
import type {Holder} from '../../lib/store/reservation.ts';
import type {Store} from '../../lib/store/store.ts';
import {chooseAddress} from './allocate.ts';
import type {Choice} from './allocate.ts';
import type {HostLocalConf} from './conf.ts';
import {findRange, formatRangeSet} from './range.ts';
import type {RangeSet} from './range.ts';
import {countUse, exhausted, listReclaimable} from './usage.ts';

interface Task {
  readonly store: Store;
  readonly conf: HostLocalConf;
  readonly call: Call;
  readonly holder: Holder;
  readonly reclaimer: Reclaimer;
}

/**
 * Reserves one address of each range set for the call's attachment. When one set cannot give any, what was reserved of the
 * others is given back. Throws CniError 999 with the reference's sentences.
 */
export function addAddresses(
  store: Store,
  conf: HostLocalConf,
  call: Call,
  reclaimer: Reclaimer = openReclaimer(store, conf),
): IpConfig[] {
  const {containerId, ifName} = call;
  const task = {store, conf, call, holder: {containerId, ifName}, reclaimer};
  const reserved: Ip[] = [];
  let wanted = conf.requested;
  try {
    const ips = conf.sets.map((set, i): IpConfig => {
      const requested = wanted.find((ip) => findRange(set, ip));
      wanted = wanted.filter((ip) => ip !== requested);
      const {ip, range} = namingRange(i, () =>
        requested ? reserveRequested(task, set, requested) : reserveNext(task, set, i),
      );
      reserved.push(ip);
      noteLast(task, i, ip);
      return {address: {ip, prefix: range.subnet.prefix}, gateway: range.gateway};
    });
    if (wanted.length === 0) return ips;
    throw refuse(
      `failed to allocate all requested IPs: ${wanted.map(formatIp).join(' ')}`,
      'a requested address must be in a range set of its own: see ipam.ranges',
    );
  } catch (error) {
    for (const ip of reserved) takeBack(task, ip);
    throw error;
  }
}

function reserveRequested(task: Task, set: RangeSet, ip: Ip): Choice {
  const {store, holder} = task;
  const range = findRange(set, ip)!;
  if (sameIp(ip, range.gateway)) {
    throw refuse(`requested ip ${formatIp(ip)} is subnet's gateway`, 'request another one, or set "gateway"');
  }
  if (store.reserve({ip, holder})) return {ip, range};
  if (reclaim(task, [ip]) && store.reserve({ip, holder})) return {ip, range};
  const other = store.findHolder(ip);
  throw refuse(
    `requested IP address ${formatIp(ip)} is not available in range set ${formatRangeSet(set)}`,
    other ? `container ${other.containerId} has it` : `${store.directory}/${formatIp(ip)} is in the way`,
  );
}

function reserveNext(task: Task, set: RangeSet, setNumber: number): Choice {
  refuseSecond(task, set);
  const {store, conf, holder} = task;
  const last = findLast(task, setNumber);
  const next = (): Choice | undefined => {
    for (;;) {
      const choice = chooseAddress(set, last, (from, to) => store.nextFree(from, to));
      if (!choice || store.reserve({ip: choice.ip, holder})) return choice;
    }
  };
  const choice = next();
  if (choice) return choice;
  store.refreshIfStale();
  const again = next() ?? (reclaimSet(task, set) ? next() : undefined);
  if (again) return again;
  throw exhausted(errorCodes.internal, set, {conf, use: countUse(store, set)});
}

/** A container that has an address of the set gets no second one, unless the first is from before a reboot. */
function refuseSecond(task: Task, set: RangeSet): void {
  const {store, holder} = task;
  const {containerId} = holder;
  for (const ip of [...store.find(holder), ...store.find({containerId})]) {
    if (!findRange(set, ip) || reclaim(task, [ip])) continue;
    throw refuse(
      `${formatIp(ip)} has been allocated to ${containerId}, duplicate allocation is not allowed`,
      `DEL gives it back; if the container is gone, remove ${store.directory}/${formatIp(ip)}`,
    );
  }
}

function reclaimSet(task: Task, set: RangeSet): boolean {
  const {store, conf} = task;
  return conf.reclaimAfterReboot && reclaim(task, listReclaimable(store, set, task.reclaimer));
}

/** Gives back those of the addresses that an earlier boot left behind; whether there were any. */
function reclaim({store, conf, call, reclaimer}: Task, ips: readonly Ip[]): boolean {
  if (!conf.reclaimAfterReboot) return false;
  const released = ips.filter((ip) => {
    const holder = reclaimer.isReclaimable(ip) ? store.findHolder(ip) : undefined;
    if (!holder || !store.release({ip, holder})) return false;
    call.log.warn({ip: formatIp(ip), ...holder}, 'reclaimed from an earlier boot');
    return true;
  });
  return released.length > 0;
}

/** A hint only: without it the next address is the first free one. */
function findLast({store, call}: Task, setNumber: number): Ip | undefined {
  try {
    return store.findLastReserved(setNumber);
  } catch (error) {
    call.warn((error as Error).message);
    return undefined;
  }
}

function noteLast({store, call}: Task, setNumber: number, ip: Ip): void {
  try {
    store.writeLastReserved(setNumber, ip);
  } catch (error) {
    call.warn((error as Error).message);
  }
}

function takeBack({store, call, holder}: Task, ip: Ip): void {
  try {
    store.release({ip, holder});
  } catch (error) {
    call.warn(`could not give back ${formatIp(ip)}: ${(error as Error).message}`);
  }
}

function namingRange<T>(setNumber: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    const {code, message, details} = error;
    throw new CniError(code, `failed to allocate for range ${setNumber}: ${message}`, details, {
      cause: error,
    });
  }
}

function refuse(msg: string, details: string): CniError {
  return new CniError(errorCodes.internal, msg, details);
}
