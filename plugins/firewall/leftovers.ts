import {familyOf, ipBytes} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {findChain} from '../../lib/netlink/nft/chain.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {deleteRule, listRules} from '../../lib/netlink/nft/rule.ts';
import type {RuleInfo} from '../../lib/netlink/nft/rule.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {parseVerdict} from '../../lib/netlink/nft/verdict.ts';
import {planAddressRemoval} from './iptables-rules.ts';
import {changeLegacyFilter} from './legacy.ts';
import {tableFamilies} from '../../lib/nat/admission-names.ts';

// Rules by address in the reference's chain: of the reference plugin, or of our iptables backend.

const referenceChain = 'CNI-FORWARD';

/** Removes them from iptables-nft, by netlink: one question per family where there is no such chain. */
export async function removeAddressRules(nft: NetfilterSocket, ips: readonly Ip[]): Promise<void> {
  const plan = async () =>
    (await Promise.all(familiesOf(ips).map((family) => planFamily(nft, family, ips)))).flat();
  if ((await plan()).length > 0) await transact(nft, plan);
}

/** Removes them from iptables-legacy, where its filter table is in use. */
export async function removeLegacyAddressRules(ips: readonly Ip[], options: IptablesOptions): Promise<void> {
  await changeLegacyFilter(options, familiesOf(ips), {
    isSettled: (table) => !table.mentions(referenceChain) || !ips.some((ip) => table.mentions(ipBytes(ip))),
    plan: (saved) => planAddressRemoval(ips, saved),
  });
}

async function planFamily(nft: NetfilterSocket, family: Family, ips: readonly Ip[]): Promise<Operation[]> {
  const chain = {family: tableFamilies[family], table: 'filter', chain: referenceChain} as const;
  if (!(await findChain(nft, chain))) return [];
  const keys = ips.filter((ip) => familyOf(ip) === family).map(ipBytes);
  const rules = await listRules(nft, chain);
  return rules.filter((rule) => accepts(rule, keys)).map(({handle}) => deleteRule(chain, handle));
}

/** Whether a rule accepts packets of, or to, one whole address of those given. */
function accepts({expressions}: RuleInfo, keys: readonly Uint8Array[]): boolean {
  const [load, compare] = expressions;
  if (load?.name !== 'payload' || compare?.name !== 'cmp') return false;
  const value = compare.data.value?.value;
  if (!value || !keys.some((key) => Buffer.compare(key, value) === 0)) return false;
  const last = expressions.at(-1);
  return last?.name === 'immediate' && parseVerdict(last.data.data)?.kind === 'accept';
}

/** The families of addresses, each once. */
export function familiesOf(ips: readonly Ip[]): Family[] {
  return [...new Set(ips.map(familyOf))];
}
