import {addBridgeVlans, removeBridgeVlans} from '../../lib/netlink/route/bridge-vlan.ts';
import type {VlanRange} from '../../lib/netlink/route/bridge-vlan.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import type {BridgeConf} from './conf.ts';

type VlanConf = Pick<BridgeConf, 'vlan' | 'trunk' | 'preserveDefaultVlan'>;

/**
 * What a port of this configuration lets through. The VLAN of frames without a tag is `vlan`; a trunk
 * without `vlan` has the bridge's default, 1.
 */
export function planPortVlans({vlan, trunk}: VlanConf): readonly VlanRange[] {
  if (vlan === 0 && trunk.length === 0) return [];
  const access = vlan === 0 ? 1 : vlan;
  const tagged = ranges(trunk.filter((id) => id !== access));
  return [{first: access, last: access, pvid: true, untagged: true}, ...tagged];
}

/** Ascending ids as ranges: one attribute for each VLAN would not fit a message of 4,094. */
function ranges(ids: readonly number[]): readonly VlanRange[] {
  const found: {first: number; last: number}[] = [];
  for (const id of ids) {
    const last = found.at(-1);
    if (last && last.last === id - 1) last.last = id;
    else found.push({first: id, last: id});
  }
  return found;
}

export async function setPortVlans(rt: RouteSocket, port: Link, conf: VlanConf): Promise<void> {
  const wanted = planPortVlans(conf);
  if (wanted.length === 0) return;
  const steps: Promise<void>[] = [];
  if (!conf.preserveDefaultVlan) steps.push(removeBridgeVlans(rt, port, [{first: 1, last: 4094}]));
  steps.push(addBridgeVlans(rt, port, wanted));
  await Promise.all(steps);
}
