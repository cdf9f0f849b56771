import {isOwnTag, ownerTag} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import {familyOf, formatIp, ipBytes} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {isBusy, isExists, isNotFound} from '../netlink/error.ts';
import type {NetlinkError} from '../netlink/error.ts';
import {addElements, deleteElements, findElement} from '../netlink/nft/element.ts';
import type {Element} from '../netlink/nft/element.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {listRules, matchesRule} from '../netlink/nft/rule.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {tryCommit} from '../netlink/nft/transaction.ts';
import type {Failure} from '../netlink/nft/transaction.ts';
import {sameVerdict} from '../netlink/nft/verdict.ts';
import type {Verdict} from '../netlink/nft/verdict.ts';
import {
  addressMaps,
  baseChain,
  chainOperations,
  planExceptChain,
  table,
  tableOperations,
} from './masquerade-rules.ts';
import type {RuledChain} from './masquerade-rules.ts';

/** What one attachment wants masqueraded. */
export interface Masquerade {
  readonly owner: Owner;
  /** Its addresses with the prefix of their subnet, which is exempt. */
  readonly ips: readonly Cidr[];
  /** Destinations that see the container's own address, besides its subnet and multicast. */
  readonly exemptDestinations?: readonly Cidr[];
}

const maxCommentBytes = 128;
const attempts = 20;

/** One address: what its element is to say, and where it goes. */
interface Entry {
  readonly ip: Ip;
  readonly element: Element & {readonly verdict: Verdict};
  readonly chain: RuledChain;
}

function planEntries({owner, ips, exemptDestinations}: Masquerade): Entry[] {
  const comment = ownerTag(owner, maxCommentBytes);
  const entries = ips.map((cidr): Entry => {
    const chain = planExceptChain(cidr, exemptDestinations);
    const verdict = {kind: 'goto', chain: chain.chain} as const;
    return {ip: cidr.ip, element: {key: ipBytes(cidr.ip), verdict, comment}, chain};
  });
  return [...new Map(entries.map((entry) => [formatIp(entry.ip), entry])).values()];
}

/**
 * Masquerades by nftables. On a host where it was done before this is one transaction of as many
 * messages as there are addresses; whatever turns out to be missing or in the way is dealt with in further ones.
 * Throws the NetlinkError of what was refused for another reason.
 */
export async function ensureNftMasquerade(nft: NetfilterSocket, wanted: Masquerade): Promise<void> {
  let entries = planEntries(wanted);
  const chains: readonly RuledChain[] = [
    baseChain,
    ...new Map(entries.map(({chain}) => [chain.chain, chain])).values(),
  ];
  // Beside the elements the next transaction makes nothing, until a refusal shows that it has to.
  let withTable = false;
  let missing: readonly RuledChain[] = [];
  let replaced = new Set<Entry>();
  for (let attempt = 1; entries.length > 0; attempt++) {
    const making = missing.map((chain) => ({chain, operations: chainOperations(chain)}));
    const adding = entries.map((entry) => ({entry, ...elementOperations(entry, replaced.has(entry))}));
    const failures = await tryCommit(nft, [
      ...(withTable ? tableOperations() : []),
      ...making.flatMap(({operations}) => operations),
      ...adding.flatMap(({remove, add}) => [...remove, add]),
    ]);
    if (failures.length === 0) return;
    const errors = new Map(failures.map(({operation, error}) => [operation, error]));

    // Somebody else made such a chain in the meantime: it has its rules.
    const present = new Set(
      making.filter(({operations}) => isExists(errors.get(operations[0]!))).map(({chain}) => chain),
    );
    const expected = new Set([
      ...making.filter(({chain}) => present.has(chain)).map(({operations}) => operations[0]!),
      ...adding.filter(({add}) => isExpected(errors.get(add))).map(({add}) => add),
      ...adding.flatMap(({remove}) => remove.filter((each) => isNotFound(errors.get(each)))),
    ]);
    const other = failures.find(({operation}) => !expected.has(operation));
    if (other) throw other.error;
    if (attempt === attempts) throw giveUp(failures);

    // An element has no map to be in, or no chain to lead to.
    const homeless = adding.some(({add}) => isNotFound(errors.get(add)));
    withTable ||= homeless;
    missing = (homeless ? chains : missing).filter((chain) => !present.has(chain));
    const next: Entry[] = [];
    const replacing = new Set<Entry>();
    for (const {entry, remove, add} of adding) {
      const error = errors.get(add);
      const taken = error !== undefined && !isNotFound(error);
      if (taken && (await isPresent(nft, entry, wanted.owner))) continue;
      next.push(entry);
      if (taken || remove.some((each) => !errors.has(each))) replacing.add(entry);
    }
    entries = next;
    replaced = replacing;
    if (attempt > 3) await new Promise((resolve) => setTimeout(resolve, Math.random() * attempt));
  }
}

/** What the state of the maps may do to a new element: the map or chain is missing, the address is taken. */
function isExpected(error: NetlinkError | undefined): boolean {
  return isNotFound(error) || isExists(error) || isBusy(error);
}

function elementOperations({ip, element}: Entry, replace: boolean): {remove: Operation[]; add: Operation} {
  const map = addressMaps[familyOf(ip)];
  return {remove: replace ? [deleteElements(map, [element.key])] : [], add: addElements(map, [element])};
}

/** Whether the address leads where it should for the owner it should: an ADD that was made twice. */
async function isPresent(nft: NetfilterSocket, {ip, element}: Entry, owner: Owner): Promise<boolean> {
  const found = await findElement(nft, addressMaps[familyOf(ip)], element.key);
  return isOwnTag(found?.comment, owner) && sameVerdict(found?.verdict, element.verdict);
}

function giveUp(failures: readonly Failure[]): Error {
  const cause = failures[0]?.error;
  return new Error(
    `table ${table.family} ${table.table} of nftables is not as weft made it, or something keeps removing it: ` +
      `look at it with "nft list table ${table.family} ${table.table}"; ` +
      `if it is not weft's, rename it, if it is, "nft delete table ${table.family} ${table.table}" lets weft make it anew`,
    {cause},
  );
}

/** What of the wanted masquerading is missing or different, one sentence each. */
export async function checkNftMasquerade(nft: NetfilterSocket, wanted: Masquerade): Promise<string[]> {
  const entries = planEntries(wanted);
  const chains = new Map(
    [baseChain, ...entries.map(({chain}) => chain)].map((chain) => [chain.chain, chain]),
  );
  const elements = entries.map(async ({ip, element}) => {
    const found = await findElement(nft, addressMaps[familyOf(ip)], element.key);
    const where = `map inet weft ${addressMaps[familyOf(ip)].set}`;
    if (!found) return [`${formatIp(ip)} is not masqueraded: ${where} lacks it`];
    if (!isOwnTag(found.comment, wanted.owner)) {
      return [`${formatIp(ip)} belongs to another attachment in ${where}: "${found.comment ?? ''}"`];
    }
    if (sameVerdict(found.verdict, element.verdict)) return [];
    return [`${formatIp(ip)} leads in ${where} to other exemptions than it should`];
  });
  const rules = [...chains.values()].map(async (chain) => {
    const found = await listRules(nft, chain);
    const same =
      found.length === chain.rules.length &&
      chain.rules.every((statements, i) => matchesRule(statements, found[i]!));
    return same ? [] : [`chain inet weft ${chain.chain} is missing or has not the rules it should have`];
  });
  return (await Promise.all([...elements, ...rules])).flat();
}
