import {ShapeError} from '../cni/shape.ts';
import {familyOf, formatIp, sameIp, type Ip} from '../ip/address.ts';
import {containsIp, formatCidr, hostCidr, networkOf, overlap, subnetOf, type Cidr} from '../ip/cidr.ts';
import type {Member, OverlayNetwork} from './member.ts';

// What the types of a static membership cannot say. Every sentence names the value and the remedy.

/** Refuses the value at `path` of the document, in a sentence that says what to do. */
export function refuse(path: string, sentence: string): never {
  throw new ShapeError(path, sentence, {isOwnSentence: true});
}

/** Checks the ranges of the whole network. Throws a ShapeError. */
export function checkNetwork({ranges}: OverlayNetwork): void {
  if (ranges.length === 0)
    refuse('network', 'no range; give one as "10.244.0.0/16", or a list of an IPv4 and an IPv6 one');
  checkCidrs(ranges, 'network');
}

/** Whether a host can have the address: not unspecified, loopback, multicast or broadcast. */
export function isHostAddress(ip: Ip): boolean {
  if (familyOf(ip) === 6) return ip.value > 1n && ip.value >> 120n !== 0xffn;
  const first = Number(ip.value >> 24n);
  return first !== 0 && first !== 127 && first < 224;
}

/** Checks the hosts against the network and against each other. Throws a ShapeError for the first that does not fit. */
export function checkMembers(network: OverlayNetwork, members: readonly Member[]): void {
  if (members.length === 0) refuse('nodes', 'no node; list every host of the network, this one too');
  for (const [index, member] of members.entries()) checkMember(network, member, `nodes[${index}]`);
  checkUnique(members);
  checkOverlap(members);
}

function checkMember(network: OverlayNetwork, member: Member, path: string): void {
  if (member.id === '') refuse(`${path}.name`, 'is empty; give the name that the host goes by');
  if (member.underlay.length === 0)
    refuse(path, `${member.id} has no address; give publicIP, publicIPv6 or both`);
  if (network.form === 'routed' && member.subnets.length === 0)
    refuse(`${path}.subnets`, `${member.id} has no subnet; give the part of the network that is its own`);
  checkCidrs(member.subnets, `${path}.subnets`);
  for (const [i, subnet] of member.subnets.entries()) checkInside(network, subnet, `${path}.subnets[${i}]`);
  checkMac(member.macs[4], `${path}.mac`);
  checkMac(member.macs[6], `${path}.macV6`);
  for (const [i, {ips, mac}] of (member.endpoints ?? []).entries()) {
    checkMac(mac, `${path}.endpoints[${i}].mac`);
    for (const ip of ips) checkInside(network, hostCidr(ip), `${path}.endpoints[${i}].ips`);
  }
}

function checkMac(mac: string | undefined, path: string): void {
  if (mac === undefined) return;
  if (Number.parseInt(mac.slice(0, 2), 16) % 2 === 1 || mac === '00:00:00:00:00:00')
    refuse(path, `${mac} cannot be the address of one interface; give a unicast one, or leave the key out`);
}

function checkCidrs(cidrs: readonly Cidr[], path: string): void {
  for (const [i, cidr] of cidrs.entries()) {
    if (!sameIp(cidr.ip, networkOf(cidr)))
      refuse(`${path}[${i}]`, `${formatCidr(cidr)} has host bits set; write ${formatCidr(subnetOf(cidr))}`);
    if (cidrs.slice(0, i).some(({ip}) => familyOf(ip) === familyOf(cidr.ip)))
      refuse(
        `${path}[${i}]`,
        `${formatCidr(cidr)} is the second of IPv${familyOf(cidr.ip)}; keep one per family`,
      );
  }
}

function checkInside({ranges}: OverlayNetwork, subnet: Cidr, path: string): void {
  if (ranges.some((range) => containsIp(range, subnet.ip) && subnet.prefix >= range.prefix)) return;
  const whole = ranges.map(formatCidr).join(', ');
  refuse(
    path,
    `${formatCidr(subnet)} is outside the network ${whole}; give a part of it, or widen "network"`,
  );
}

/** Names, addresses and hardware addresses belong to one host each. */
function checkUnique(members: readonly Member[]): void {
  const seen = new Map<string, string>();
  const claim = (what: string, path: string, value: string, index: number) => {
    const key = `${what} ${value}`;
    const earlier = seen.get(key);
    if (earlier !== undefined)
      refuse(`nodes[${index}].${path}`, `${value} is also the ${what} of ${earlier}; each host has its own`);
    seen.set(key, `nodes[${index}] (${members[index]!.id})`);
  };
  for (const [index, {id, underlay, macs}] of members.entries()) {
    claim('name', 'name', id, index);
    for (const ip of underlay)
      claim('address', familyOf(ip) === 4 ? 'publicIP' : 'publicIPv6', formatIp(ip), index);
    for (const mac of new Set([macs[4], macs[6]]))
      if (mac !== undefined) claim('hardware address', 'mac', mac, index);
  }
}

/** Sorted, so that only neighbours need to be compared: there may be thousands. */
function checkOverlap(members: readonly Member[]): void {
  const all = members.flatMap(({id, subnets}, index) => subnets.map((subnet, i) => ({id, index, i, subnet})));
  for (const family of [4, 6] as const) {
    const sorted = all
      .filter(({subnet}) => familyOf(subnet.ip) === family)
      .sort((a, b) =>
        a.subnet.ip.value < b.subnet.ip.value ? -1 : a.subnet.ip.value > b.subnet.ip.value ? 1 : 0,
      );
    for (const [at, one] of sorted.entries()) {
      const other = sorted[at + 1];
      if (other === undefined || !overlap(one.subnet, other.subnet)) continue;
      const [first, second] = one.index < other.index ? [one, other] : [other, one];
      refuse(
        `nodes[${second.index}].subnets[${second.i}]`,
        `${formatCidr(second.subnet)} overlaps ${formatCidr(first.subnet)} of nodes[${first.index}] (${first.id}); each host needs a subnet of its own`,
      );
    }
  }
}
