import {createHash} from 'node:crypto';
import {bitsOf, familyOf, formatIp, ipFromValue} from '../../lib/ip/address.ts';
import {networkOf, type Cidr} from '../../lib/ip/cidr.ts';

/** So many are tried one after the other before a range counts as full. */
const mostTries = 10_000;

/**
 * An address of a range for a service: the same on every host that is asked, as long as nobody else has it. Undefined where the range is
 * full. The first and the last address are nobody's.
 */
export function chooseAddress(range: Cidr, service: string, taken: ReadonlySet<string>): string | undefined {
  const family = familyOf(range.ip);
  const hostBits = bitsOf(family) - range.prefix;
  const size = (1n << BigInt(hostBits)) - 2n;
  if (size < 1n) return undefined;
  const start = BigInt(`0x${createHash('sha256').update(service).digest('hex').slice(0, 16)}`) % size;
  const tries = size < BigInt(mostTries) ? Number(size) : mostTries;
  const first = networkOf(range).value;
  for (let i = 0; i < tries; i++) {
    const offset = ((start + BigInt(i)) % size) + 1n;
    const address = formatIp(ipFromValue(family, first + offset));
    if (!taken.has(address)) return address;
  }
  return undefined;
}
