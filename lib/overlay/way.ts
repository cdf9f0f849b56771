import {familyOf, sameIp, type Family, type Ip} from '../ip/address.ts';
import type {DeviceSpec} from './device-spec.ts';
import type {Member} from './member.ts';

/** How a peer is reached. */
interface Way {
  /** The device. */
  readonly name: string;
  readonly mtu: number;
  /** The far VTEP. */
  readonly mac: string;
  readonly to: Ip;
}

/** The device through which a peer is reached: that of the family itself before another. */
export function findWay(
  {underlay, macs}: Member,
  family: Family,
  devices: readonly DeviceSpec[],
): Way | undefined {
  const own = devices.filter(({local}) => familyOf(local) === family);
  for (const {name, mtu, local} of [...own, ...devices]) {
    const outer = familyOf(local);
    const to = underlay.find((ip) => familyOf(ip) === outer);
    const mac = macs[outer];
    if (to && mac !== undefined && !sameIp(to, local)) return {name, mtu, mac, to};
  }
  return undefined;
}

/** What to say of a peer that no device reaches. */
export function whyNoWay({underlay, macs}: Member, devices: readonly DeviceSpec[]): string {
  const outer = devices.map(({local}) => familyOf(local));
  const has = underlay.filter((ip) => outer.includes(familyOf(ip)));
  if (has.length === 0) return `it has no IPv${outer.join(' or IPv')} address in the underlay`;
  if (has.every((ip) => macs[familyOf(ip)] === undefined))
    return 'the hardware address of its VTEP is unknown';
  return 'its address in the underlay is our own';
}
