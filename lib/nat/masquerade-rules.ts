import {shortHash} from '../cni/owner.ts';
import {familyOf} from '../ip/address.ts';
import type {Family} from '../ip/address.ts';
import {formatCidr, parseCidr, subnetOf} from '../ip/cidr.ts';
import type {Cidr} from '../ip/cidr.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {ensureSet} from '../netlink/nft/set.ts';
import {masquerade, matchAddress, verdict, verdictOfAddress} from '../netlink/nft/statement.ts';
import {ensureNatTable, table} from './table.ts';
import type {RuledChain} from './table.ts';

// Everything weft masquerades with. An object's name stands for its content for ever: a release that needs other rules
// takes other names, so that processes of two releases can work on one table at the same time.
//
//   table inet weft {
//     map masq-addresses4 { type ipv4_addr : verdict; elements = { 10.88.0.5 comment "<owner>" : goto masq-except-10.88.0.0/16 } }
//     map masq-addresses6 { type ipv6_addr : verdict; }
//     chain masq-postrouting {
//       type nat hook postrouting priority srcnat + 1; policy accept;
//       ip saddr vmap @masq-addresses4
//       ip6 saddr vmap @masq-addresses6
//     }
//     chain masq-except-10.88.0.0/16 {
//       ip daddr 10.88.0.0/16 return
//       ip daddr 224.0.0.0/4 return
//       masquerade
//     }
//   }

/** From an address to the chain of its exemptions. */
export const addressMaps = {
  4: {...table, set: 'masq-addresses4', key: 'ipv4_addr', data: 'verdict'},
  6: {...table, set: 'masq-addresses6', key: 'ipv6_addr', data: 'verdict'},
} as const;

/** One behind what iptables, kube-proxy and the reference use: their rules win, as they do without us. */
const priority = 101;

/** Where packets come in. */
export const baseChain: RuledChain = {
  ...table,
  chain: 'masq-postrouting',
  base: {type: 'nat', hook: 'postrouting', priority},
  rules: [[verdictOfAddress('saddr', 4, addressMaps[4])], [verdictOfAddress('saddr', 6, addressMaps[6])]],
};

const multicast: Readonly<Record<Family, Cidr>> = {4: parseCidr('224.0.0.0/4')!, 6: parseCidr('ff00::/8')!};

const exceptPrefix = 'masq-except-';

/** The chain for an attachment with this address: not its own subnet, not `exemptDestinations`, not multicast. */
export function planExceptChain(ip: Cidr, exemptDestinations: readonly Cidr[] = []): RuledChain {
  const family = familyOf(ip.ip);
  const own = formatCidr(subnetOf(ip));
  const exempt = exemptDestinations.filter((cidr) => familyOf(cidr.ip) === family).map(subnetOf);
  const others = [...new Set(exempt.map(formatCidr))].filter((text) => text !== own).sort();
  const suffix = others.length === 0 ? '' : `-${shortHash(others.join(), 8)}`;
  const exceptions = [own, ...others].map((text) => parseCidr(text)!);
  return {
    ...table,
    // nft reads no colons in a name.
    chain: `${exceptPrefix}${own.replaceAll(':', '_')}${suffix}`,
    rules: [
      ...[...exceptions, multicast[family]].map((cidr) => [
        matchAddress('daddr', cidr),
        verdict({kind: 'return'}),
      ]),
      [masquerade()],
    ],
  };
}

/** Whether a chain of the table is one that `planExceptChain` names. */
export function isExceptChain(name: string): boolean {
  return name.startsWith(exceptPrefix);
}

/** The table and its maps, unless they are there. */
export function tableOperations(): Operation[] {
  return [ensureNatTable(), ensureSet({...addressMaps[4], id: 1}), ensureSet({...addressMaps[6], id: 2})];
}
