import type {Family, Ip} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';

/** What a VTEP shall be: a vxlan device of the host. */
export interface DeviceSpec {
  readonly name: string;
  readonly vni: number;
  /** UDP port of the underlay. */
  readonly port: number;
  /** Where this host's tunnels begin; its family is that of the underlay. */
  readonly local: Ip;
  /** The ifindex that tunnels leave through; `undefined` leaves it to the routes. */
  readonly link: number | undefined;
  readonly mtu: number;
  readonly mac: string;
  /** Whether the hosts behind hardware addresses are learned from what comes in. */
  readonly learning: boolean;
  /** Whether ARP and neighbour discovery are answered here, and never sent on. */
  readonly proxy: boolean;
  /** Whether the outer packet may be fragmented on its way; "inherit" makes the path's MTU known. */
  readonly df: 'unset' | 'set' | 'inherit';
  /** Checksums of the outer UDP header over IPv4. */
  readonly udpChecksum: boolean;
  /** Its addresses; others of global scope are taken away. */
  readonly addresses: readonly Cidr[];
  /** The bridge that it is a port of; made where it is missing. */
  readonly bridge: string | undefined;
  /** Whose it is (IFALIAS). */
  readonly alias: string;
}

/** RTPROT_*: what the overlay's routes and neighbours are marked with; no other program is known to use it. */
export const overlayProtocol = 119;

const aliasPrefix = 'weft overlay ';

/** The alias of a network's devices. */
export function deviceAlias(network: string): string {
  return `${aliasPrefix}${network}`;
}

/** The network that an alias names; `undefined` for another's. */
export function parseDeviceAlias(alias: string | undefined): string | undefined {
  return alias?.startsWith(aliasPrefix) ? alias.slice(aliasPrefix.length) : undefined;
}

// linux/if.h, IFNAMSIZ less the zero byte
const mostNameBytes = 15;

/** The name of the device for a VNI over an underlay of this family: flannel's, as long as it fits. */
export function deviceName(vni: number, family: Family): string {
  const name = family === 4 ? `flannel.${vni}` : `flannel-v6.${vni}`;
  return name.length <= mostNameBytes ? name : `flan6.${vni}`;
}

/** What the tunnel's headers take of a packet: outer Ethernet (14, as the inner one), IP, UDP 8, VXLAN 8. */
export const headerBytes: Readonly<Record<Family, number>> = {4: 50, 6: 70};

/** The MTU inside the tunnel: the underlay's or the configured one, less its headers and those of encryption. */
export function overlayMtu({
  underlayMtu,
  family,
  wanted,
  cryptoBytes = 0,
}: {
  readonly underlayMtu: number;
  readonly family: Family;
  /** The MTU asked for inside the tunnel; never more than fits. */
  readonly wanted?: number | undefined;
  readonly cryptoBytes?: number;
}): number {
  const most = underlayMtu - headerBytes[family] - cryptoBytes;
  return wanted === undefined ? most : Math.min(wanted, most);
}
