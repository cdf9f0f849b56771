import {parseIp, type Family} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import type {Member, OverlayNetwork} from '../../../lib/overlay/member.ts';
import type {LocalSettings} from '../../../lib/overlay/state.ts';

/** The network of the tests, 10.244.0.0/16 and fd00:244::/48. */
export function network(changes: Partial<OverlayNetwork> = {}): OverlayNetwork {
  const ranges = ['10.244.0.0/16', 'fd00:244::/48'].map((text) => parseCidr(text)!);
  return {name: 'pods', form: 'routed', vni: 1, port: 8472, ranges, directRouting: false, ...changes};
}

const subnets = {4: (n: number) => `10.244.${n}.0/24`, 6: (n: number) => `fd00:244:0:${n}::/64`};
const addresses = {4: (n: number) => `192.0.2.${n}`, 6: (n: number) => `2001:db8::${n}`};

/** Member `n`: 192.0.2.n, 10.244.n.0/24, 02:00:00:00:04:0n. */
export function member(
  n: number,
  {
    underlay = [4],
    overlay = [4],
    ...changes
  }: Omit<Partial<Member>, 'underlay' | 'subnets'> & {
    readonly underlay?: readonly Family[];
    readonly overlay?: readonly Family[];
    readonly subnets?: readonly string[];
  } = {},
): Member {
  const mac = (family: Family) => (underlay.includes(family) ? `02:00:00:00:0${family}:0${n}` : undefined);
  return {
    id: `host-${n}`,
    underlay: underlay.map((family) => parseIp(addresses[family](n))!),
    macs: {4: mac(4), 6: mac(6)},
    seniority: n,
    ...changes,
    subnets: (changes.subnets ?? overlay.map((family) => subnets[family](n))).map((text) => parseCidr(text)!),
  };
}

/** Host 1 with `eth0`, ifindex 2. */
export function local(
  changes: Partial<LocalSettings> = {},
  underlay: readonly Family[] = [4],
): LocalSettings {
  const carried = underlay.map((family) => parseIp(addresses[family](1))!);
  return {carrier: {ifindex: 2, mtu: 1500, addresses: carried}, ...changes};
}
