import type {Host} from '../../lib/host.ts';
import type {Family} from '../../lib/ip/address.ts';

export const forwardingSysctl: Readonly<Record<Family, string>> = {
  4: 'net/ipv4/ip_forward',
  6: 'net/ipv6/conf/all/forwarding',
};

/** Lets the host forward packets of these families; written only where it does not yet. */
export function ensureForwarding(host: Host, families: Iterable<Family>): void {
  for (const family of new Set(families)) {
    try {
      host.sysctl.ensure(forwardingSysctl[family], '1');
    } catch (cause) {
      throw new Error(
        `failed to enable forwarding, which "isGateway" needs (sysctl -w ${forwardingSysctl[family].replaceAll('/', '.')}=1)`,
        {cause},
      );
    }
  }
}
