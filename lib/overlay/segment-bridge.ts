import {sha512} from '../netns/native.ts';
import {macFromBytes} from '../ip/mac.ts';

/** The bridge of an `l2` network on every host, where nobody gives it another name; at most 13 bytes. */
export function segmentBridgeName(vni: number): string {
  return `br-vx${vni}`;
}

/**
 * The hardware address of that bridge, which is the containers' gateway: the same on every host, as its address is, so that a
 * container finds it here whichever host answered. Locally administered, unicast.
 */
export function segmentGatewayMac(vni: number): string {
  const bytes = sha512(JSON.stringify(['gateway', vni])).subarray(0, 6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
