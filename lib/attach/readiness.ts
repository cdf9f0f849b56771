import {CniError, errorCodes} from '../cni/error.ts';
import type {Host} from '../host.ts';
import {NetlinkError, isDenied, isUnsupported} from '../netlink/error.ts';
import type {KnownLinkInfo} from '../netlink/link/kinds.ts';
import {addLink, removeLink} from '../netlink/route/link.ts';

// Above the most a link takes (65535): refused after the kernel has looked for the kind's driver and our right to use it.
const impossibleMtu = 70_000;
const probe = 'weft-probe';

/** Asks the kernel for a link it cannot give; the kind of its refusal tells what keeps it from giving one. */
export async function findLinkObstacle(
  host: Host,
  kind: KnownLinkInfo['kind'],
): Promise<'denied' | 'unsupported' | undefined> {
  try {
    await addLink(host.rt, {name: probe, info: {kind}, mtu: impossibleMtu});
    // Kernels before 4.10 take any MTU.
    await removeLink(host.rt, {name: probe});
  } catch (error) {
    if (isDenied(error)) return 'denied';
    if (isUnsupported(error)) return 'unsupported';
    if (!(error instanceof NetlinkError)) throw error;
  }
  return undefined;
}

/** Goes where it is already, which takes the same right as going into a container; error 50 without it. */
export function checkEntering(host: Host): void {
  using own = host.sandbox('/proc/self/ns/net');
  try {
    own.netns.run(() => {});
  } catch (error) {
    throw new CniError(
      errorCodes.notAvailable,
      (error as Error).message,
      "containers' network namespaces cannot be entered",
    );
  }
}
