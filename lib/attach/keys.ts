import type {output} from 'zod/v4/core';
import {compact} from '../cni/compact.ts';
import {CniError, errorCodes} from '../cni/error.ts';
import type {dnsField} from '../cni/fields.ts';
import type {Dns} from '../cni/types.ts';
import type {MasqueradeBackend} from '../nat/masquerade.ts';

// Rules of the keys that plugins which make veth pairs have in common. All throw CniError 7.

/** `mtu`; `undefined` leaves the kernel's default. */
export function vethMtu(mtu = 0): number | undefined {
  if (mtu === 0 || (mtu >= 68 && mtu <= 65_535)) return mtu || undefined;
  throw new CniError(
    errorCodes.invalidConfig,
    `invalid MTU ${mtu}`,
    '"mtu" goes from 68 to 65535; 0 or no key leaves the kernel\'s default',
  );
}

/** `ipMasqBackend`; `undefined`: nftables where the kernel has it. */
export function masqueradeBackend(name = ''): MasqueradeBackend | undefined {
  if (name === '') return undefined;
  if (name === 'iptables' || name === 'nftables') return name;
  throw new CniError(
    errorCodes.invalidConfig,
    `unknown ipmasq backend "${name}"`,
    'ipMasqBackend is "nftables" (the default) or "iptables"',
  );
}

/**
 * `dns`, which replaces what IPAM says as a whole. An empty list counts: it says that there are none. An empty domain
 * does not.
 */
export function dnsOverride(dns: output<typeof dnsField> | undefined): Dns | undefined {
  const {nameservers, domain, search, options} = dns ?? {};
  if (!nameservers && !search && !options && !domain) return undefined;
  return compact({nameservers, domain: domain || undefined, search, options});
}
