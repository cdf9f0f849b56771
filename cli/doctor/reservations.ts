import {defaultCacheFolder} from '../../lib/cni/runtime/cache.ts';
import {openReclaimer} from '../../lib/store/reclaim.ts';
import {withStore} from '../../lib/store/store.ts';
import {countUse} from '../../plugins/host-local/usage.ts';
import {planCollection} from '../gc.ts';
import {listHostLocalNetworks} from '../host-local-networks.ts';
import {about, type Finding} from './finding.ts';

/** A range this full soon gives no more addresses. */
const nearlyFull = 0.9;

/** Addresses that are kept for containers which are gone, and ranges that are nearly used up. */
export async function checkReservations(confDir: string): Promise<readonly Finding[]> {
  const {ok, warning, problem} = about('addresses');
  const findings: Finding[] = [];
  const networks = listHostLocalNetworks({confDir, warn: () => {}});
  for (const network of networks) {
    const {network: name, sets = []} = network;
    const use = await withStore({...network, create: false}, (store) => ({
      plan: planCollection(store, {
        reclaimer: openReclaimer(store, {network: name, cacheFolder: defaultCacheFolder}),
        unlisted: false,
        nowMs: Date.now(),
      }),
      sets: sets.map((set) => countUse(store, set)),
    }));
    if (use === undefined) continue;
    const {plan} = use;
    const stale = plan.stale.length + plan.empty.length;
    if (stale > 0) {
      findings.push(
        warning(
          `network "${name}": ${stale} addresses are kept for containers that are gone`,
          `weft gc ${name}`,
        ),
      );
    }
    if (plan.unlisted > 0) {
      findings.push(
        warning(
          `network "${name}": ${plan.unlisted} addresses seem to be kept for containers that are gone`,
          `weft gc ${name} --unlisted --dry-run`,
        ),
      );
    }
    for (const {used, free} of use.sets) {
      if (free === 0n) {
        findings.push(
          problem(
            `network "${name}": a set of ranges is used up (${used} addresses)`,
            `weft gc ${name}, or a larger subnet`,
          ),
        );
      } else if (Number(free) < used * (1 / nearlyFull - 1)) {
        findings.push(
          warning(`network "${name}": ${free} addresses are left, ${used} are used`, 'plan a larger subnet'),
        );
      }
    }
  }
  return findings.length > 0 ? findings : [ok(`${networks.length} networks with reservations, none stale`)];
}
