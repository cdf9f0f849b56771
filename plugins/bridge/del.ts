import {detach} from '../../lib/attach/detach.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {removeMacSpoofCheck} from './macspoof.ts';

/** Detaches the container; the bridge, and what is on it for others, stays. */
export async function del(call: Call, host: Host): Promise<void> {
  await detach(call, host, {ofOne: (owner) => removeMacSpoofCheck(host, owner)});
}
