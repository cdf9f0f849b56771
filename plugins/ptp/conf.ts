import * as z from 'zod/mini';
import {dnsOverride, masqueradeBackend, vethMtu} from '../../lib/attach/keys.ts';
import {parseConf} from '../../lib/cni/conf.ts';
import {cidrField, dnsField} from '../../lib/cni/fields.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {prepareShape} from '../../lib/cni/shape.ts';
import type {Dns} from '../../lib/cni/types.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import type {MasqueradeBackend} from '../../lib/nat/masquerade.ts';

const text = z.optional(z.string());

const schema = prepareShape(
  z.object({
    ipMasq: z._default(z.boolean(), false),
    ipMasqBackend: text,
    exemptDestinations: z._default(z.array(cidrField), []),
    mtu: z.optional(z.int()),
    ipam: z.optional(z.looseObject({type: text})),
    dns: z.optional(dnsField),
  }),
);

/** What a call asks of the ptp plugin; every rule between keys has been checked. */
export interface PtpConf {
  readonly owner: Owner;
  readonly ipMasq: boolean;
  /** Undefined: nftables where the kernel has it. */
  readonly ipMasqBackend: MasqueradeBackend | undefined;
  /** Destinations that are not masqueraded; nftables backend only. */
  readonly exemptDestinations: readonly Cidr[];
  /** Of the veth pair; undefined leaves the kernel's. */
  readonly mtu: number | undefined;
  /** Undefined for a network without addresses (layer 2 only). */
  readonly ipamType: string | undefined;
  /** Replaces what IPAM says of DNS, wholly. */
  readonly dns: Dns | undefined;
}

/** Reads and checks the configuration. Throws CniError 7. */
export function parsePtpConf(call: Call): PtpConf {
  const {ipMasq, ipMasqBackend, exemptDestinations, mtu, ipam, dns} = parseConf(call, schema);
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    ipMasq,
    ipMasqBackend: masqueradeBackend(ipMasqBackend),
    exemptDestinations,
    mtu: vethMtu(mtu),
    ipamType: ipam?.type || undefined,
    dns: dnsOverride(dns),
  };
}
