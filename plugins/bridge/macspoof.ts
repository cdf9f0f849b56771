import {isOwnTag, isStaleTag, ownerKey, ownerTag} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Attachment} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {addChain, deleteChain, ensureChain, findChain, listChains} from '../../lib/netlink/nft/chain.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {addRule, deleteRule, findTarget, listRules, matchesRule} from '../../lib/netlink/nft/rule.ts';
import type {Rule} from '../../lib/netlink/nft/rule.ts';
import {matchInputInterface, matchSourceMac, verdict} from '../../lib/netlink/nft/statement.ts';
import {ensureTable} from '../../lib/netlink/nft/table.ts';
import {commit, transact} from '../../lib/netlink/nft/transaction.ts';

// The reference's objects by the reference's names, so that either can remove what the other made:
//
//   table bridge nat {
//     chain PREROUTING {
//       type filter hook prerouting priority -300; policy accept;
//       iifname "veth…" jump cni-br-iface-<id> comment "macspoofchk-<id>"
//     }
//     chain cni-br-iface-<id> { comment "<owner>"; jump cni-br-iface-<id>-mac comment "macspoofchk-<id>" }
//     chain cni-br-iface-<id>-mac {
//       ether saddr <mac> return comment "macspoofchk-<id>"
//       drop comment "macspoofchk-<id>"
//     }
//   }
//
// One rule of PREROUTING per container: each frame on any bridge is compared with all of them. A map by interface
// would take constant time, but the reference could not delete a chain that it leads to. The chain's comment is
// ours alone: it says whose the chain is, which garbage collection needs.

const table = {family: 'bridge', table: 'nat'} as const;
const prerouting = {...table, chain: 'PREROUTING'} as const;
const prefix = 'cni-br-iface-';

type NatHost = Pick<Host, 'nft'>;

/** The bridge's end of a container's veth pair, and the only source address its frames may have. */
export interface SpoofCheck {
  readonly hostVeth: string;
  readonly mac: string;
}

interface Chains {
  readonly chain: string;
  readonly macChain: string;
  readonly comment: string;
}

function chainsOf({containerId, ifName}: Pick<Owner, 'containerId' | 'ifName'>): Chains {
  const id = `${containerId}-${ifName}`;
  return {chain: `${prefix}${id}`, macChain: `${prefix}${id}-mac`, comment: `macspoofchk-${id}`};
}

function planRules(owner: Owner, {hostVeth, mac}: SpoofCheck): Rule[] {
  const {chain, macChain, comment} = chainsOf(owner);
  return [
    {
      ...prerouting,
      statements: [matchInputInterface(hostVeth), verdict({kind: 'jump', chain})],
      comment,
    },
    {...table, chain, statements: [verdict({kind: 'jump', chain: macChain})], comment},
    {...table, chain: macChain, statements: [matchSourceMac(mac), verdict({kind: 'return'})], comment},
    {...table, chain: macChain, statements: [verdict({kind: 'drop'})], comment},
  ];
}

function planCheck(owner: Owner, check: SpoofCheck): Operation[] {
  const {chain, macChain} = chainsOf(owner);
  return [
    ensureTable(table),
    ensureChain({...prerouting, base: {type: 'filter', hook: 'prerouting', priority: -300}}),
    addChain({...table, chain, comment: ownerTag(owner, 128)}),
    addChain({...table, chain: macChain}),
    ...planRules(owner, check).map(addRule),
  ];
}

/** Drops frames of a container whose source address is not its own. Replaces a check that is there. */
export async function ensureMacSpoofCheck(host: NatHost, owner: Owner, check: SpoofCheck): Promise<void> {
  const wanted = planCheck(owner, check);
  try {
    await commit(host.nft, wanted);
  } catch (cause) {
    if (!isExists(cause)) throw new Error('macspoofchk', {cause});
    await replace(host, owner, wanted);
  }
}

async function replace(host: NatHost, owner: Owner, wanted: readonly Operation[]): Promise<void> {
  try {
    await transact(host.nft, async () => [
      ...(await planChainRemoval(host, await findChains(host, owner))),
      ...wanted,
    ]);
  } catch (cause) {
    throw new Error('macspoofchk', {cause});
  }
}

/**
 * Removes the check of one attachment; one datagram where there is none. The reference's names leave the network
 * out: chains that say they belong to another one stay.
 */
export async function removeMacSpoofCheck(host: NatHost, owner: Owner): Promise<void> {
  await ifPresent(() => transact(host.nft, () => planMacSpoofRemoval(host, owner)));
}

/** What removes the check of one attachment, for `transact`. */
export async function planMacSpoofRemoval(host: NatHost, owner: Owner): Promise<Operation[]> {
  const present = await findChains(host, owner);
  if (present.some(({comment}) => comment !== undefined && !isOwnTag(comment, owner))) return [];
  return planChainRemoval(host, present);
}

/** A kernel that filters no frames holds no filter to remove. */
async function ifPresent(step: () => Promise<void>): Promise<void> {
  try {
    await step();
  } catch (cause) {
    if (!isMissingNftables(cause)) throw new Error('macspoofchk', {cause});
  }
}

/** In the order in which they can be deleted. */
async function findChains(host: NatHost, owner: Owner) {
  const {chain, macChain} = chainsOf(owner);
  const found = await Promise.all(
    [chain, macChain].map((name) => findChain(host.nft, {...table, chain: name})),
  );
  return found.filter((each) => each !== undefined);
}

/** `chains` in the order in which they can be deleted: none jumps to one before it. */
async function planChainRemoval(
  host: NatHost,
  chains: readonly {readonly chain: string}[],
): Promise<Operation[]> {
  if (chains.length === 0) return [];
  const targets = new Set(chains.map(({chain}) => chain));
  const rules = await listRules(host.nft, prerouting);
  return [
    ...rules
      .filter((rule) => targets.has(findTarget(rule) ?? ''))
      .map(({handle}) => deleteRule(prerouting, handle)),
    ...chains.map(({chain}) => deleteChain({...table, chain})),
  ];
}

/** Throws when the check of an attachment is missing or another one. */
export async function checkMacSpoofCheck(host: NatHost, owner: Owner, check: SpoofCheck): Promise<void> {
  const wanted = planRules(owner, check);
  for (const chain of new Set(wanted.map((rule) => rule.chain))) {
    const found = await listRules(host.nft, {...table, chain});
    for (const {statements} of wanted.filter((rule) => rule.chain === chain)) {
      if (found.some((rule) => matchesRule(statements, rule))) continue;
      const text = statements.map((statement) => statement.text).join(' ');
      throw new Error(`macspoofchk: chain ${chain} of table bridge nat lacks the rule "${text}"`);
    }
  }
}

/**
 * Removes the checks of attachments of `network` that are not in `keep`. Those that the reference made name no
 * network and stay; a DEL removes them.
 */
export async function gcMacSpoofCheck(
  host: NatHost,
  network: string,
  keep: readonly Attachment[],
): Promise<void> {
  const kept = new Set(keep.map((attachment) => ownerKey({network, ...attachment})));
  const plan = async () => {
    const chains = await listChains(host.nft, table);
    const names = new Set(chains.map(({chain}) => chain));
    const stale = chains.filter(
      ({chain, comment}) => chain.startsWith(prefix) && isStaleTag(comment, network, kept),
    );
    if (stale.length === 0) return [];
    return planChainRemoval(host, [
      ...stale,
      ...stale.map(({chain}) => ({chain: `${chain}-mac`})).filter(({chain}) => names.has(chain)),
    ]);
  };
  await ifPresent(() => transact(host.nft, plan));
}
