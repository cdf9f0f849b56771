import test from 'ava';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {baseChain, planExceptChain, tableOperations} from '../../../lib/nat/masquerade-rules.ts';
import {chainOperations} from '../../../lib/nat/table.ts';
import {formatOperations} from '../../../lib/netlink/nft/operation.ts';

const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);

// Processes of an older and a newer release work on one table at the same time: what has a name keeps its content. A
// change here needs another name.
test('the objects of the first release stay as they are', (t) => {
  t.is(
    formatOperations([...tableOperations(), ...chainOperations(baseChain)]),
    `add table inet weft { comment "NAT of containers, made by weft" ; }
add map inet weft masq-addresses4 { type ipv4_addr : verdict ; }
add map inet weft masq-addresses6 { type ipv6_addr : verdict ; }
create chain inet weft masq-postrouting { type nat hook postrouting priority 101 ; policy accept ; }
add rule inet weft masq-postrouting ip saddr vmap @masq-addresses4
add rule inet weft masq-postrouting ip6 saddr vmap @masq-addresses6
`,
  );
  t.is(
    formatOperations(chainOperations(planExceptChain(parseCidr('10.88.0.5/16')!))),
    `create chain inet weft masq-except-10.88.0.0/16
add rule inet weft masq-except-10.88.0.0/16 ip daddr 10.88.0.0/16 return
add rule inet weft masq-except-10.88.0.0/16 ip daddr 224.0.0.0/4 return
add rule inet weft masq-except-10.88.0.0/16 masquerade
`,
  );
  t.is(
    formatOperations(
      chainOperations(planExceptChain(parseCidr('fd00:88::5/64')!, cidrs('2001:db8::1/32', '10.0.0.0/8'))),
    ),
    `create chain inet weft masq-except-fd00_88__/64-b08372d1
add rule inet weft masq-except-fd00_88__/64-b08372d1 ip6 daddr fd00:88::/64 return
add rule inet weft masq-except-fd00_88__/64-b08372d1 ip6 daddr 2001:db8::/32 return
add rule inet weft masq-except-fd00_88__/64-b08372d1 ip6 daddr ff00::/8 return
add rule inet weft masq-except-fd00_88__/64-b08372d1 masquerade
`,
  );
});

test('a chain is named by what it exempts, not by how that was written', (t) => {
  const name = (ip: string, ...exempt: string[]) => planExceptChain(parseCidr(ip)!, cidrs(...exempt)).chain;
  t.is(name('10.88.0.5/16'), name('10.88.7.7/16', '10.88.0.0/16', 'fd00::/8'));
  t.is(
    name('10.88.0.5/16', '10.1.0.0/16', '10.2.0.0/16'),
    name('10.88.0.5/16', '10.2.3.4/16', '10.1.0.0/16', '10.1.0.0/16'),
  );
  t.not(name('10.88.0.5/16'), name('10.88.0.5/24'));
  t.not(name('10.88.0.5/16', '10.1.0.0/16'), name('10.88.0.5/16', '10.1.0.0/24'));
});
