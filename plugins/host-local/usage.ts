import {join} from 'node:path';
import {CniError} from '../../lib/cni/error.ts';
import type {Ip} from '../../lib/ip/address.ts';
import type {Reclaimer} from '../../lib/store/reclaim.ts';
import type {Store} from '../../lib/store/store.ts';
import type {StoreConf} from './conf.ts';
import {formatRangeSet, rangeContains, sizeOf} from './range.ts';
import type {RangeSet} from './range.ts';

/** How many addresses of a range set are taken, and how many are left. */
export interface Use {
  readonly used: number;
  readonly free: bigint;
}

/** Counts without opening a file. A gateway does not count, even where an older configuration gave it away. */
export function countUse(store: Store, set: RangeSet): Use {
  const used = set.reduce((sum, range) => {
    const {gateway} = range;
    const isGiven = rangeContains(range, gateway) && store.countUsed(gateway, gateway) > 0;
    return sum + store.countUsed(range.start, range.end) - (isGiven ? 1 : 0);
  }, 0);
  return {used, free: sizeOf(set) - BigInt(used)};
}

/** Addresses of a set that an earlier boot left behind; looks at every reservation of the set. */
export function listReclaimable(store: Store, set: RangeSet, reclaimer: Reclaimer): Ip[] {
  const used = set.flatMap(({start, end}) => store.listUsed(start, end));
  return used.filter((ip) => reclaimer.isReclaimable(ip));
}

/** The reference's sentence for a set of which nothing is left, with the counts and what to do. */
export function exhausted(
  code: number,
  set: RangeSet,
  {conf, use}: {readonly conf: StoreConf; readonly use: Use},
): CniError {
  return new CniError(
    code,
    `no IP addresses available in range set: ${formatRangeSet(set)}`,
    `${use.used} used, ${use.free} free; enlarge ipam.ranges, or see with \`weft gc ${conf.network} --dry-run\` ` +
      `which files in ${join(conf.dataDir, conf.network)} belong to containers that are gone`,
  );
}
