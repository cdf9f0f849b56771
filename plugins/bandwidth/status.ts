import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {NetlinkError, isDenied} from '../../lib/netlink/error.ts';
import {addLink, findLink, removeLink} from '../../lib/netlink/route/link.ts';
import {makeHandle, root} from '../../lib/netlink/tc/handle.ts';
import {addQdisc} from '../../lib/netlink/tc/qdisc.ts';
import {parseBandwidthConf} from './conf.ts';
import {missingFeature, type Feature} from './features.ts';

const probe = 'weft-probe-ifb';
// Refused as negative, after the kernel has looked for the driver and our right to use it.
const impossibleMtu = 0xffff_ffff;

/** Whether limits could be set now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  parseBandwidthConf(call);
  await ask('ifb', async () => {
    await addLink(host.rt, {name: probe, info: {kind: 'ifb'}, mtu: impossibleMtu});
    // Old kernels take any MTU.
    await removeLink(host.rt, {name: probe});
  });
  const lo = await findLink(host.rt, {name: 'lo'});
  if (!lo) return;
  // Without options there is nothing to make: the kernel refuses once it has found the kind.
  const tbf = {
    ifindex: lo.ifindex,
    parent: root,
    handle: makeHandle(1),
    info: {kind: 'tbf'},
    link: 'lo',
  } as const;
  await ask('tbf', () => addQdisc(host.rt, tbf));
}

/** Asks for something that cannot be; the kind of refusal tells whether the kernel knows what was asked for. */
async function ask(feature: Feature, request: () => Promise<void>): Promise<void> {
  try {
    await request();
  } catch (error) {
    if (isDenied(error)) {
      throw new CniError(
        errorCodes.notAvailable,
        'not allowed to limit the bandwidth of containers',
        'the plugin needs CAP_NET_ADMIN',
      );
    }
    const missing = missingFeature(error, feature, errorCodes.notAvailable);
    if (missing) throw missing;
    if (!(error instanceof NetlinkError)) throw error;
  }
}
