import {findPrevResult} from '../../lib/cni/result.ts';
import {ensureAdmission} from '../../lib/nat/admission.ts';
import {elementsPart, repairOf} from '../../lib/nat/repair.ts';
import type {Part} from '../../lib/nat/repair.ts';
import {isUnsupported} from '../../lib/netlink/error.ts';
import {knownOf, wantedOf} from './attachment.ts';
import {parseFirewallConf} from './conf.ts';
import {checkAdmission, ensureLegacyAdmission} from './host-admission.ts';
import {familiesOf} from './leftovers.ts';
import {checkAdminChain, planWanted, planWantedPorts, restoreAdminChain} from './nft.ts';
import {planRemoval} from './removal.ts';

/** Rules of the iptables backend are nobody's to keep but the host's, and firewalld keeps its own. */
export const repair = repairOf((call, host) => {
  const conf = parseFirewallConf(call);
  const previous = findPrevResult(call);
  if (!previous || conf.backend === 'iptables') return [];
  const wanted = wantedOf(conf, previous);
  if (wanted.ips.length === 0) return [];
  const {owner, ips, mark, adminChain, isolation} = wanted;
  const families = familiesOf(ips);
  const known = knownOf(previous);
  const nothing = async () => [];
  const withoutPorts = {...wanted, isolation: isolation && {...isolation, ports: []}};
  const ports = planWantedPorts(wanted);
  return [
    elementsPart(host.nft, {
      owner,
      wanted: planWanted(withoutPorts),
      planRemoval: async () => (await planRemoval(host.nft, owner, known)).operations,
    }),
    ...(ports ? [whereSupported(elementsPart(host.nft, {owner, wanted: ports, planRemoval: nothing}))] : []),
    {
      missing: () => checkAdminChain(host.nft, {adminChain}),
      restore: () => restoreAdminChain(host.nft, adminChain),
      planRemoval: nothing,
    },
    {
      missing: () => checkAdmission(call, host, families, mark),
      async restore() {
        await ensureAdmission(host.nft, families, mark);
        await ensureLegacyAdmission(call, families, mark);
      },
      planRemoval: nothing,
    },
  ];
});

/** Not every kernel filters frames: the ADD said so. */
function whereSupported(part: Part): Part {
  const orElse = async <T>(work: () => Promise<T>, otherwise: T) => {
    try {
      return await work();
    } catch (error) {
      if (isUnsupported(error)) return otherwise;
      throw error;
    }
  };
  return {
    missing: () => orElse(() => part.missing(), []),
    restore: () => orElse(() => part.restore(), undefined),
    planRemoval: () => part.planRemoval(),
  };
}
