import {validAttachments} from '../../lib/cni/attachments.ts';
import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {findTeardownConf} from './conf.ts';
import {findFirewalldFor} from './del.ts';
import {planCollection} from './removal.ts';
import {removeByAddress, transactRemoval} from './teardown.ts';

/** Removes what belongs to this network and to none of the attachments that are still in use. */
export async function gc(call: Call, host: Host): Promise<void> {
  const conf = findTeardownConf(call);
  const keep = validAttachments(call);
  let ips: readonly Ip[] = [];
  await everyStep([
    () =>
      transactRemoval(host, async () => {
        const plan = await planCollection(host.nft, call.name, keep);
        ips = plan.ips;
        return plan;
      }),
    async () => {
      if (ips.length === 0) return;
      call.log.info({addresses: ips.map(formatIp)}, 'removed the rules of containers that are gone');
      using firewalld = await findFirewalldFor(call, conf);
      await removeByAddress(call, host, {ips, zone: conf.zone, firewalld});
    },
  ]);
}
