import {isOwnTag, isStaleTag, ownerKey} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import {ipBytes} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {deleteChain, findChain} from '../netlink/nft/chain.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {deleteRule, findTarget, listRules} from '../netlink/nft/rule.ts';
import type {RuleInfo} from '../netlink/nft/rule.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {iptablesChainName, parseIptablesComment} from './names.ts';

// What the reference's ipMasq made, as nftables shows it: by its own nftables backend, and by iptables-nft. Everything
// here gives operations for `transact`.

/** The rules of the reference's nftables backend. */
const masqChecks = {family: 'inet', table: 'cni_plugins_masquerade', chain: 'masq_checks'} as const;

const iptablesFamilies = ['ip', 'ip6'] as const;
type IptablesFamily = (typeof iptablesFamilies)[number];

function postrouting(family: IptablesFamily) {
  return {family, table: 'nat', chain: 'POSTROUTING'} as const;
}

/**
 * What removes the reference's masquerading of one container. Where there is none, this costs three questions in one
 * datagram. With `ips`, another interface of the container that shares its iptables chain stays masqueraded.
 */
export async function planReferenceRemoval(
  nft: NetfilterSocket,
  owner: Owner,
  ips: readonly Cidr[] | undefined,
): Promise<Operation[]> {
  const chain = iptablesChainName(owner.network, owner.containerId);
  const found = await Promise.all([
    findChain(nft, masqChecks),
    ...iptablesFamilies.map((family) => findChain(nft, {family, table: 'nat', chain})),
  ]);
  const operations: Operation[] = [];
  if (found[0]) {
    const rules = await listRules(nft, masqChecks);
    const ours = rules.filter(({comment}) => isOwnTag(comment, owner));
    operations.push(...ours.map(({handle}) => deleteRule(masqChecks, handle)));
  }
  for (const [i, family] of iptablesFamilies.entries()) {
    if (!found[i + 1]) continue;
    const jumps = (await listRules(nft, postrouting(family))).filter((rule) => findTarget(rule) === chain);
    const ours = ips ? jumps.filter((rule) => concerns(rule, ips)) : jumps;
    operations.push(...ours.map(({handle}) => deleteRule(postrouting(family), handle)));
    if (ours.length === jumps.length) operations.push(deleteChain({family, table: 'nat', chain}));
  }
  return operations;
}

/** Whether the reference's nftables backend masquerades as many addresses of an attachment. */
export async function hasReferenceRules(nft: NetfilterSocket, owner: Owner, count: number): Promise<boolean> {
  if (!(await findChain(nft, masqChecks))) return false;
  const rules = await listRules(nft, masqChecks);
  return rules.filter(({comment}) => isOwnTag(comment, owner)).length >= count;
}

/**
 * What removes the reference's masquerading of containers of `network` that are not in `keep`. An iptables chain says
 * by its rules' comments whose it is; one that is kept for one interface is kept for all.
 */
export async function planReferenceCollection(
  nft: NetfilterSocket,
  network: string,
  keep: readonly Attachment[],
): Promise<Operation[]> {
  const kept = new Set(keep.map((attachment) => ownerKey({network, ...attachment})));
  const operations: Operation[] = [];
  if (await findChain(nft, masqChecks)) {
    const rules = await listRules(nft, masqChecks);
    const stale = rules.filter(({comment}) => isStaleTag(comment, network, kept));
    operations.push(...stale.map(({handle}) => deleteRule(masqChecks, handle)));
  }
  const containers = new Set(keep.map(({containerId}) => containerId));
  for (const family of iptablesFamilies) {
    const chains = new Set<string>();
    for (const rule of await listRules(nft, postrouting(family))) {
      const names = parseIptablesComment(iptablesCommentOf(rule));
      if (names?.network !== network || containers.has(names.containerId)) continue;
      const chain = iptablesChainName(network, names.containerId);
      if (findTarget(rule) !== chain) continue;
      operations.push(deleteRule(postrouting(family), rule.handle));
      chains.add(chain);
    }
    operations.push(...[...chains].map((chain) => deleteChain({family, table: 'nat', chain})));
  }
  return operations;
}

/**
 * Whether a jump is for one of the addresses. One that compares less than a whole address is of an old release of the
 * reference, which matched the subnet: it is nobody else's.
 */
function concerns({expressions}: RuleInfo, ips: readonly Cidr[]): boolean {
  const compared = expressions.flatMap((expression) =>
    expression.name === 'cmp' ? (expression.data.value?.value ?? []) : [],
  );
  const masked = expressions.some(({name}) => name === 'bitwise');
  const whole = compared.filter((value) => value.length === 4 || value.length === 16);
  if (masked || whole.length === 0) return true;
  return whole.some((value) => ips.some(({ip}) => Buffer.compare(ipBytes(ip), value) === 0));
}

/** The comment of an iptables rule: a match of its own, or since 1.8.10 what nft uses. */
export function iptablesCommentOf({expressions, comment}: RuleInfo): string {
  for (const expression of expressions) {
    if (expression.name !== 'match' || expression.data.name !== 'comment') continue;
    const info = Buffer.from(expression.data.info ?? []);
    const end = info.indexOf(0);
    return info.toString('utf8', 0, end < 0 ? info.length : end);
  }
  return comment ?? '';
}
