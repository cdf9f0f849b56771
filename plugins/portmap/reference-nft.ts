import type {Owner} from '../../lib/cni/owner.ts';
import type {Attachment} from '../../lib/cni/types.ts';
import {iptablesChainName} from '../../lib/nat/names.ts';
import {iptablesCommentOf} from '../../lib/nat/reference-nft.ts';
import {deleteChain, findChain} from '../../lib/netlink/nft/chain.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {deleteRule, findTarget, listRules} from '../../lib/netlink/nft/rule.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import type {Forward} from './mapping.ts';
import {parseDnatComment, topChains} from './reference-names.ts';
import type {ChainPrefix} from './reference-names.ts';

// What the reference's portmap made, as nftables shows it: by iptables-nft, and by its own nftables backend. Everything
// here gives operations for `transact`.

type Names = Pick<Owner, 'network' | 'containerId'>;

const nftFamilies = ['ip', 'ip6'] as const;
type NftFamily = (typeof nftFamilies)[number];

/** The chains of the reference's nftables backend that hold rules of containers. */
const hostportChains = ['hostports', 'hostip_hostports', 'masquerading'] as const;

const prefixes = Object.keys(topChains) as ChainPrefix[];

/** What removes the reference's mappings of one container. Where there are none, this costs six questions in one datagram. */
export async function planReferenceRemoval(
  nft: NetfilterSocket,
  {network, containerId}: Names,
): Promise<Operation[]> {
  const questions = nftFamilies.flatMap((family) => [
    ...prefixes.map((prefix) => ({family, prefix, chain: iptablesChainName(network, containerId, prefix)})),
    {family, prefix: undefined, chain: 'hostports'},
  ]);
  const found = await Promise.all(
    questions.map(({family, prefix, chain}) =>
      findChain(nft, {family, table: prefix === undefined ? 'cni_hostport' : 'nat', chain}),
    ),
  );
  const operations: Operation[] = [];
  for (const [i, {family, prefix, chain}] of questions.entries()) {
    if (!found[i]) continue;
    if (prefix === undefined) operations.push(...(await planHostportRules(nft, family, containerId)));
    else operations.push(...(await planChainRemoval(nft, {family, prefix, chains: new Set([chain])})));
  }
  return operations;
}

/** Its rules say which container they are of, but neither network nor interface. */
async function planHostportRules(
  nft: NetfilterSocket,
  family: NftFamily,
  containerId: string,
): Promise<Operation[]> {
  const operations: Operation[] = [];
  for (const name of hostportChains) {
    const chain = {family, table: 'cni_hostport', chain: name} as const;
    const rules = await listRules(nft, chain);
    const own = rules.filter(({comment}) => comment === containerId);
    operations.push(...own.map(({handle}) => deleteRule(chain, handle)));
  }
  return operations;
}

/** Whether the reference's nftables backend forwards as many ports to a container, in every family, and is called. */
export async function hasReferenceForwards(
  nft: NetfilterSocket,
  {containerId}: Names,
  forwards: readonly Pick<Forward, 'family'>[],
): Promise<boolean> {
  const families = [...new Set(forwards.map(({family}) => family))];
  const counts = families.map(async (family) => {
    const table = {family: family === 4 ? 'ip' : 'ip6', table: 'cni_hostport'} as const;
    const [rules, entry, all] = await Promise.all([
      listRules(nft, {...table, chain: 'hostports'}),
      listRules(nft, {...table, chain: 'prerouting'}),
      listRules(nft, {...table, chain: 'hostports_all'}),
    ]);
    const own = rules.filter(({comment}) => comment === containerId).length;
    const wanted = forwards.filter((forward) => forward.family === family).length;
    const isCalled =
      entry.some((rule) => findTarget(rule) === 'hostports_all') &&
      all.some((rule) => findTarget(rule) === 'hostports');
    return isCalled && own >= wanted;
  });
  return (await Promise.all(counts)).every(Boolean);
}

async function planChainRemoval(
  nft: NetfilterSocket,
  {family, prefix, chains}: {family: NftFamily; prefix: ChainPrefix; chains: ReadonlySet<string>},
): Promise<Operation[]> {
  const top = {family, table: 'nat', chain: topChains[prefix]} as const;
  const jumps = (await listRules(nft, top)).filter((rule) => chains.has(findTarget(rule) ?? ''));
  return [
    ...jumps.map(({handle}) => deleteRule(top, handle)),
    ...[...chains].map((chain) => deleteChain({family, table: 'nat', chain})),
  ];
}

/**
 * What removes the reference's mappings of containers of `network` that are not in `keep`. Those of its nftables backend
 * name no network and stay; a DEL removes them.
 */
export async function planReferenceCollection(
  nft: NetfilterSocket,
  network: string,
  keep: readonly Attachment[],
): Promise<Operation[]> {
  const kept = new Set(keep.map(({containerId}) => containerId));
  const operations: Operation[] = [];
  for (const family of nftFamilies) {
    for (const prefix of prefixes) {
      const rules = await listRules(nft, {family, table: 'nat', chain: topChains[prefix]});
      const stale = rules.flatMap((rule) => {
        const names = parseDnatComment(iptablesCommentOf(rule));
        if (names?.network !== network || kept.has(names.containerId)) return [];
        const chain = iptablesChainName(network, names.containerId, prefix);
        return findTarget(rule) === chain ? [chain] : [];
      });
      if (stale.length === 0) continue;
      operations.push(...(await planChainRemoval(nft, {family, prefix, chains: new Set(stale)})));
    }
  }
  return operations;
}
