import {validAttachments} from '../../lib/cni/attachments.ts';
import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {forgetUdp, removeFromNftables} from './del.ts';
import {collectLegacyForwarding} from './iptables.ts';
import {planReferenceCollection} from './reference-nft.ts';
import {planCollection} from './removal.ts';
import type {RemovedMapping} from './removal.ts';

/** Removes the mappings of this network that belong to none of the attachments that are still in use. */
export async function gc(call: Call, host: Host): Promise<void> {
  const keep = validAttachments(call);
  const removed: RemovedMapping[] = [];
  const plans = [
    async () => {
      const links = new Set((await listLinks(host.rt)).map(({name}) => name));
      return planCollection(host.nft, {network: call.name, keep, links});
    },
    async () => ({operations: await planReferenceCollection(host.nft, call.name, keep), removed: []}),
  ];
  await everyStep([
    () => removeFromNftables(host, {what: `network ${call.name}`, plans, removed}),
    () => collectLegacyForwarding(call.name, keep, {env: call.env}),
    () => forgetUdp(call, host, removed),
  ]);
}
