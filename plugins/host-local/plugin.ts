import {join} from 'node:path';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call, Plugin} from '../../lib/cni/plugin.ts';
import {validAttachments} from '../../lib/cni/attachments.ts';
import type {Result} from '../../lib/cni/types.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {openReclaimer} from '../../lib/store/reclaim.ts';
import {withStore} from '../../lib/store/store.ts';
import type {Store} from '../../lib/store/store.ts';
import {checkWritable} from '../../lib/writable.ts';
import {addAddresses} from './add.ts';
import {parseHostLocalConf, parseStoreConf} from './conf.ts';
import type {HostLocalConf} from './conf.ts';
import {formatRangeSet} from './range.ts';
import {readResolvConf} from './resolv-conf.ts';
import {countUse, exhausted, listReclaimable} from './usage.ts';

export const plugin: Plugin<Host> = {
  name: 'host-local',
  versions: specVersions,
  add,
  del,
  check,
  gc,
  status,
};

async function add(call: Call): Promise<Result> {
  const conf = parseHostLocalConf(call);
  const dns = conf.resolvConf === undefined ? {} : readResolvConf(conf.resolvConf);
  const ips = await withStore({...conf, create: true}, (store) => addAddresses(store, conf, call));
  return {interfaces: [], ips: ips ?? [], routes: conf.routes, dns};
}

/** Gives back whatever the attachment has, whether or not it is in a range of today's configuration. */
async function del(call: Call): Promise<void> {
  const {containerId, ifName} = call;
  await withStore({...parseStoreConf(call), create: false}, (store) => {
    let released = store.releaseAll({containerId, ifName});
    // The oldest format does not say which interface; only where nothing says it better.
    if (released.length === 0) released = store.releaseAll({containerId});
    call.log.info({ips: released.map(formatIp)}, 'released');
  });
}

async function check(call: Call): Promise<void> {
  const {containerId, ifName} = call;
  const conf = parseHostLocalConf(call);
  const found = await withStore(
    {...conf, create: false},
    (store) => store.find({containerId, ifName}).length > 0 || store.find({containerId}).length > 0,
  );
  if (found) return;
  throw new CniError(
    errorCodes.internal,
    `host-local: Failed to find address added by container ${containerId}`,
    `no file in ${join(conf.dataDir, conf.network)} says that it belongs to ${containerId} ${ifName}`,
  );
}

async function gc(call: Call): Promise<void> {
  const valid = validAttachments(call);
  // A reservation in the oldest format is in use while its container is, whichever interface it was for.
  const holders = [...valid, ...valid.map(({containerId}) => ({containerId}))];
  await withStore({...parseStoreConf(call), create: false}, (store) => {
    const errors: unknown[] = [];
    for (const reservation of store.listOthers(holders)) {
      try {
        store.release(reservation);
        call.log.info({ip: formatIp(reservation.ip), ...reservation.holder}, 'collected');
      } catch (error) {
        errors.push(error);
      }
    }
    for (const ip of store.listEmpty()) store.removeEmpty(ip);
    if (errors.length === 1) throw errors[0];
    if (errors.length > 1)
      throw new AggregateError(errors, `${errors.length} reservations could not be removed`);
  });
}

async function status(call: Call): Promise<void> {
  const conf = parseHostLocalConf(call);
  checkDirectory(join(conf.dataDir, conf.network));
  await asNotAvailable(async () => {
    if (conf.resolvConf !== undefined) readResolvConf(conf.resolvConf);
    await withStore({...conf, create: false}, (store) => checkUse(call, conf, store));
  });
}

/** Logs how full each range set is; with `statusFailsWhenFull` one that is full is CniError 50. */
function checkUse(call: Call, conf: HostLocalConf, store: Store): void {
  for (const [i, set] of conf.sets.entries()) {
    const {used, free} = countUse(store, set);
    call.log.info({set: i, ranges: formatRangeSet(set), used, free: String(free)}, 'usage');
    if (free > 0n || !conf.statusFailsWhenFull) continue;
    // The next ADD would make room.
    if (conf.reclaimAfterReboot && listReclaimable(store, set, openReclaimer(store, conf)).length > 0)
      continue;
    throw exhausted(errorCodes.notAvailable, set, {conf, use: {used, free}});
  }
}

function checkDirectory(directory: string): void {
  try {
    checkWritable(directory);
  } catch (error) {
    throw new CniError(
      errorCodes.notAvailable,
      (error as Error).message,
      'reservations are kept there: make it writable, or set ipam.dataDir',
    );
  }
}

/** Whatever is in the way of reading and writing is in the way of an ADD. A lock that is held is not: it will be free. */
async function asNotAvailable(look: () => Promise<unknown>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (!(error instanceof CniError) || error.code !== errorCodes.ioFailure) throw error;
    throw new CniError(errorCodes.notAvailable, error.message, error.details, {cause: error});
  }
}
