import {validAttachments} from '../../lib/cni/attachments.ts';
import {everyStep} from '../../lib/cni/every.ts';
import {isStaleTag, ownerKey} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {listLinks, removeLink} from '../../lib/netlink/route/link.ts';

/** Removes the ifb devices of this network's containers that are gone. */
export async function gc(call: Call, host: Host): Promise<void> {
  const keep = new Set(validAttachments(call).map((each) => ownerKey({network: call.name, ...each})));
  const links = await listLinks(host.rt, {kind: 'ifb'});
  const stale = links.filter(({alias}) => isStaleTag(alias, call.name, keep));
  await everyStep(
    stale.map((link) => () => {
      call.log.info(
        {link: link.name, alias: link.alias},
        'remove the ifb device of a container that is gone',
      );
      return removeLink(host.rt, {ifindex: link.ifindex});
    }),
  );
}
