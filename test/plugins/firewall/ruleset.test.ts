import test from 'ava';
import {chainOperations} from '../../../lib/nat/table.ts';
import {formatOperations} from '../../../lib/netlink/nft/operation.ts';
import {
  admitChain,
  commonChains,
  memberChain,
  parseMemberChain,
  portChain,
  tableOperations,
} from '../../../plugins/firewall/ruleset.ts';

test('the whole ruleset as nft would be told', (t) => {
  const chains = [...commonChains, admitChain(0x1000), memberChain('isolated', 'br0'), portChain];
  t.is(
    formatOperations([...tableOperations({withPorts: true}), ...chains.flatMap(chainOperations)]),
    `add table inet weft-firewall { comment "traffic of containers, made by weft" ; }
add map inet weft-firewall containers4 { type ipv4_addr : verdict ; }
add map inet weft-firewall members4 { type ipv4_addr : verdict ; }
add map inet weft-firewall containers6 { type ipv6_addr : verdict ; }
add map inet weft-firewall members6 { type ipv6_addr : verdict ; }
add map inet weft-firewall bridge-pairs { type ifname . ifname : verdict ; }
add set inet weft-firewall bridges { type ifname ; }
add chain inet weft-firewall admin
add table bridge weft-firewall { comment "isolated containers, made by weft" ; }
add set bridge weft-firewall isolated-ports { type ifname ; }
create chain inet weft-firewall to-containers
add rule inet weft-firewall to-containers ip daddr vmap @containers4
add rule inet weft-firewall to-containers ip6 daddr vmap @containers6
create chain inet weft-firewall policy
add rule inet weft-firewall policy iifname . oifname vmap @bridge-pairs
add rule inet weft-firewall policy iifname @bridges oifname @bridges drop
create chain inet weft-firewall forward { type filter hook forward priority -1 ; policy accept ; }
add rule inet weft-firewall forward jump admin
add rule inet weft-firewall forward jump policy
add rule inet weft-firewall forward ip saddr vmap @containers4
add rule inet weft-firewall forward ip6 saddr vmap @containers6
add rule inet weft-firewall forward ct state established,related jump to-containers
add rule inet weft-firewall forward ct status dnat jump to-containers
create chain inet weft-firewall admit-0x1000
add rule inet weft-firewall admit-0x1000 meta mark set meta mark | 0x00001000 accept
create chain inet weft-firewall isolated-br0
create chain bridge weft-firewall forward { type filter hook forward priority -200 ; policy accept ; }
add rule bridge weft-firewall forward iifname @isolated-ports drop
add rule bridge weft-firewall forward oifname @isolated-ports drop
`,
  );
});

test('any name of a bridge is in its chain, in characters that nft reads', (t) => {
  for (const bridge of ['cni0', 'cni-podman0', 'br.100', 'a_b', 'brücke+%', '@"{}', 'same-bridge-x']) {
    const {chain} = memberChain('same-bridge', bridge);
    t.regex(chain, /^[a-z][A-Za-z0-9_.-]*$/);
    t.deepEqual(parseMemberChain(chain), {policy: 'same-bridge', bridge});
  }
  t.is(parseMemberChain('admit-0x1000'), undefined);
});
