import {elementsPart, repairOf} from '../../lib/nat/repair.ts';
import {parsePortmapConf} from './conf.ts';
import {planReserved, planWanted} from './forward.ts';
import {findLocalInterface, planForwarding, planOwnForwards} from './portmap.ts';
import {planRemoval} from './removal.ts';

/** Of ports that iptables forwards only that they are taken: its rules are nobody's to keep but the host's. */
export const repair = repairOf(async (call, host) => {
  const conf = parsePortmapConf(call);
  const forwards = planOwnForwards(call, conf);
  if (!conf.previous || forwards.length === 0) return [];
  const {owner, mappings, backend} = conf;
  const isIptables = backend === 'iptables';
  const localInterface = isIptables ? undefined : await findLocalInterface(host, conf, forwards);
  const wanted = planForwarding(conf, forwards, localInterface);
  return [
    elementsPart(host.nft, {
      owner,
      wanted: isIptables ? planReserved(wanted) : planWanted(wanted),
      planRemoval: async () => (await planRemoval(host.nft, owner, mappings)).operations,
    }),
  ];
});
