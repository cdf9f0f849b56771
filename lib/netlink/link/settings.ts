import {attrs, putAttribute} from '../attrs.ts';
import {u32, u8, type Codec} from '../codec.ts';

/** Of net/ipv4/conf/<link>/: what a message can also change. */
export interface Ipv4Settings {
  readonly arpNotify?: number | undefined;
}

/** What a message changes of a link's IPv6. */
export interface Ipv6Changes {
  /** How the link gets its link-local address (linux/if_link.h, enum in6_addr_gen_mode); `none`: it gets none. */
  readonly addrGenMode?: keyof typeof addrGenModes | undefined;
}

/** Of net/ipv6/conf/<link>/: only told; the kernel takes changes by files. A kernel that is too old for one leaves it out. */
export interface Ipv6Settings {
  readonly acceptRa?: number | undefined;
  readonly disableIpv6?: number | undefined;
  readonly acceptDad?: number | undefined;
  readonly ndiscNotify?: number | undefined;
  readonly keepAddrOnDown?: number | undefined;
  readonly enhancedDad?: number | undefined;
}

// linux/if_link.h, IFLA_INET_CONF and IFLA_INET6_CONF
const inetConf = 1;
const inet6Conf = 2;
const inet6AddrGenMode = 8;
const addrGenModes = {eui64: 0, none: 1} as const;
// NLA_F_NESTED is not part of it.
const typeMask = 0x3fff;
// linux/ip.h, enum IPV4_DEVCONF_*, which begins with 1
const ipv4 = {arpNotify: 22};
// linux/ipv6.h, enum DEVCONF_*, which begins with 0
const ipv6 = {
  acceptRa: 3,
  disableIpv6: 26,
  acceptDad: 27,
  ndiscNotify: 29,
  keepAddrOnDown: 42,
  enhancedDad: 46,
};

const ipv4Changes = attrs({arpNotify: [ipv4.arpNotify, u32]});

/** Sent as one attribute for each setting, but told as an array of all of them. */
const inet: Codec<Ipv4Settings> = {
  nested: true,
  put: (w, settings) => putAttribute(w, inetConf, ipv4Changes, settings),
  get: (b, start, end) => {
    const at = find(b, {start, end, type: inetConf});
    return {arpNotify: at(ipv4.arpNotify - 1)};
  },
};

const inet6: Codec<Ipv6Settings & Ipv6Changes> = {
  nested: true,
  put(w, {addrGenMode}) {
    if (addrGenMode !== undefined) putAttribute(w, inet6AddrGenMode, u8, addrGenModes[addrGenMode]);
  },
  get: (b, start, end) => {
    const at = find(b, {start, end, type: inet6Conf});
    return {
      acceptRa: at(ipv6.acceptRa),
      disableIpv6: at(ipv6.disableIpv6),
      acceptDad: at(ipv6.acceptDad),
      ndiscNotify: at(ipv6.ndiscNotify),
      keepAddrOnDown: at(ipv6.keepAddrOnDown),
      enhancedDad: at(ipv6.enhancedDad),
    };
  },
};

/** IFLA_AF_SPEC of a link that is no bridge's: by address family. A family that the link has not got is missing. */
export const familySettings = attrs({ipv4: [2, inet], ipv6: [10, inet6]});

/**
 * Reads from the array of numbers of 32 bits that the attribute `type` of a nest is. Bears any bytes: notifications about
 * bridge ports have the VLANs in this place.
 */
function find(
  b: Buffer,
  {start, end, type}: {readonly start: number; readonly end: number; readonly type: number},
): (index: number) => number | undefined {
  for (let at = start; end - at >= 4;) {
    const length = b.readUInt16LE(at);
    if (length < 4 || at + length > end) break;
    const from = at + 4;
    const to = at + length;
    if ((b.readUInt16LE(at + 2) & typeMask) === type)
      return (index) => (from + 4 * index + 4 <= to ? b.readInt32LE(from + 4 * index) : undefined);
    at += (length + 3) & ~3;
  }
  return () => undefined;
}
