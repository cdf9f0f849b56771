import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {removeLink} from '../../lib/netlink/route/link.ts';
import {findIfbs} from './ifb.ts';

/**
 * Removes the ifb device, by its name: neither namespace, previous result nor limits are needed. Everything else goes with the
 * veth pair, which the plugin that made it removes next.
 */
export async function del(call: Call, host: Host): Promise<void> {
  const {own} = await findIfbs(host, {
    network: call.name,
    containerId: call.containerId,
    ifName: call.ifName,
  });
  if (own) await removeLink(host.rt, {ifindex: own.ifindex});
}
