import {IPv4, IPv6} from 'ip-num';
import type {Ip} from '../../lib/ip/address.ts';

const octet = /^(0|[1-9]\d{0,2})$/;

/** The address that a name below in-addr.arpa or ip6.arpa stands for; undefined where it is a part of one, or none. */
export function parseReverseName(name: string): Ip | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const labels = name.slice(0, -'.in-addr.arpa'.length).split('.');
    if (labels.length !== 4 || !labels.every((label) => octet.test(label) && Number(label) < 256))
      return undefined;
    return new IPv4(BigInt(labels.reduceRight((value, label) => value * 256 + Number(label), 0)));
  }
  if (name.endsWith('.ip6.arpa')) {
    const labels = name.slice(0, -'.ip6.arpa'.length).split('.');
    if (labels.length !== 32 || !labels.every((label) => /^[0-9a-f]$/.test(label))) return undefined;
    return new IPv6(BigInt(`0x${labels.toReversed().join('')}`));
  }
  return undefined;
}
