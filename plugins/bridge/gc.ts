import {collect} from '../../lib/attach/detach.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {gcMacSpoofCheck} from './macspoof.ts';

/** Removes what belongs to this network and to none of the attachments that are still in use. */
export async function gc(call: Call, host: Host): Promise<void> {
  await collect(call, host, {ofStale: (keep) => gcMacSpoofCheck(host, call.name, keep)});
}
