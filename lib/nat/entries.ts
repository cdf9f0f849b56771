import {isBusy, isExists, isNotFound} from '../netlink/error.ts';
import type {NetlinkError} from '../netlink/error.ts';
import {addElements, deleteElements, ensureElements, findElement} from '../netlink/nft/element.ts';
import type {Element, ElementsOf} from '../netlink/nft/element.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {ensureChain} from '../netlink/nft/chain.ts';
import type {Chain} from '../netlink/nft/chain.ts';
import {tryCommit} from '../netlink/nft/transaction.ts';
import type {Failure} from '../netlink/nft/transaction.ts';
import {chainOperations} from './table.ts';
import type {RuledChain} from './table.ts';

/** An element, and where it belongs. */
export interface Entry {
  readonly map: ElementsOf;
  readonly element: Element;
  /** Several owners want the same element: one that is there is as good. */
  readonly shared?: boolean;
}

/** Elements that are wanted, and what they need to be of use. */
export interface Wanted<E extends Entry> {
  readonly entries: readonly E[];
  /** Makes the table and its maps unless they are there. */
  readonly tables: () => readonly Operation[];
  /** Chains with their rules, each after those it leads to. */
  readonly chains: readonly RuledChain[];
  /** Chains without rules, which may come and go with the elements that lead to them. */
  readonly emptyChains?: readonly Chain[];
  /**
   * Told of a key that is taken. `keep`: what is there is what is wanted; `replace`: it goes; an error ends all.
   */
  onTaken(entry: E, found: Element): 'keep' | 'replace' | Promise<'keep' | 'replace'>;
}

const attempts = 20;
// So many elements fit into one attribute, whose length has 16 bits, with the longest keys and comments.
const mostPerMessage = 128;

interface Group<E> {
  readonly entries: readonly E[];
  readonly remove: readonly Operation[];
  readonly add: Operation;
}

/**
 * Adds elements to the maps of the table. On a host where all else was done before this is one transaction of a message for each
 * map; whatever turns out to be missing or in the way is dealt with in further ones. Throws the NetlinkError of what was
 * refused for another reason. Whether tables or chains were missing.
 */
export async function ensureEntries<E extends Entry>(
  nft: NetfilterSocket,
  wanted: Wanted<E>,
): Promise<boolean> {
  let entries = wanted.entries;
  // Beside the elements the next transaction makes nothing, until a refusal shows that it has to.
  let withTable = false;
  let missing: readonly RuledChain[] = [];
  let replaced: ReadonlySet<E> = new Set<E>();
  let together = true;
  const empty = (wanted.emptyChains ?? []).map(ensureChain);
  for (let attempt = 1; entries.length > 0; attempt++) {
    const making = missing.map((chain) => ({chain, operations: chainOperations(chain)}));
    const groups: readonly Group<E>[] = groupEntries(entries, replaced, together ? mostPerMessage : 1);
    const failures = await tryCommit(nft, [
      ...(withTable ? wanted.tables() : []),
      ...making.flatMap(({operations}) => operations),
      ...empty,
      ...groups.flatMap(({remove, add}) => [...remove, add]),
    ]);
    if (failures.length === 0) return withTable;
    const errors = new Map(failures.map(({operation, error}) => [operation, error]));

    // Somebody else made such a chain in the meantime: it has its rules.
    const present = new Set(
      making.filter(({operations}) => isExists(errors.get(operations[0]!))).map(({chain}) => chain),
    );
    const expected = new Set([
      ...empty.filter((each) => isNotFound(errors.get(each))),
      ...making.filter(({chain}) => present.has(chain)).map(({operations}) => operations[0]!),
      ...groups.filter(({add}) => isExpected(errors.get(add))).map(({add}) => add),
      ...groups.flatMap(({remove}) => remove.filter((each) => isNotFound(errors.get(each)))),
    ]);
    const other = failures.find(({operation}) => !expected.has(operation));
    if (other) throw other.error;
    if (attempt === attempts) throw giveUp(entries[0]!, failures);

    // An element has no map to be in, or no chain to lead to.
    const homeless = [...empty, ...groups.map(({add}) => add)].some((each) => isNotFound(errors.get(each)));
    withTable ||= homeless;
    missing = (homeless ? wanted.chains : missing).filter((chain) => !present.has(chain));
    const next: Judgement<E> = await judge(nft, {wanted, groups, errors});
    ({entries, replaced} = next);
    together &&= next.together;
    if (attempt > 3) await new Promise((resolve) => setTimeout(resolve, Math.random() * attempt));
  }
  return withTable;
}

interface Judgement<E> {
  readonly entries: readonly E[];
  readonly replaced: ReadonlySet<E>;
  readonly together: boolean;
}

/** After a refusal: which elements are still wanted, and which of those take the place of what is there. */
async function judge<E extends Entry>(
  nft: NetfilterSocket,
  {
    wanted,
    groups,
    errors,
  }: {
    wanted: Wanted<E>;
    groups: readonly Group<E>[];
    errors: ReadonlyMap<Operation, NetlinkError>;
  },
): Promise<Judgement<E>> {
  const entries: E[] = [];
  const replaced = new Set<E>();
  let together = true;
  for (const group of groups) {
    const error = errors.get(group.add);
    const taken = error !== undefined && !isNotFound(error);
    const [first] = group.entries;
    if (taken && group.entries.length > 1) {
      // One of them is taken, which is not said.
      together = false;
      entries.push(...group.entries);
      continue;
    }
    const found = taken && first ? await findElement(nft, first.map, first.element.key) : undefined;
    if (found && (await wanted.onTaken(first!, found)) === 'keep') continue;
    entries.push(...group.entries);
    if (first && (taken || group.remove.some((each) => !errors.has(each)))) replaced.add(first);
  }
  return {entries, replaced, together};
}

/** What the state of the maps may do to a new element: the map or chain is missing, the key is taken. */
function isExpected(error: NetlinkError | undefined): boolean {
  return isNotFound(error) || isExists(error) || isBusy(error);
}

function groupEntries<E extends Entry>(
  entries: readonly E[],
  replaced: ReadonlySet<E>,
  most: number,
): Group<E>[] {
  const lists: E[][] = [];
  const open = new Map<string, E[]>();
  for (const entry of entries) {
    const kind = `${entry.map.family} ${entry.map.set} ${entry.shared === true}`;
    let list = open.get(kind);
    if (!list || list.length >= most || replaced.has(entry)) {
      lists.push((list = []));
      if (!replaced.has(entry)) open.set(kind, list);
    }
    list.push(entry);
  }
  return lists.map((list) => {
    const {map, element, shared} = list[0]!;
    const elements = list.map((entry) => entry.element);
    return {
      entries: list,
      remove: replaced.has(list[0]!) ? [deleteElements(map, [element.key])] : [],
      add: shared === true ? ensureElements(map, elements) : addElements(map, elements),
    };
  });
}

function giveUp({map}: Entry, failures: readonly Failure[]): Error {
  const cause = failures[0]?.error;
  const table = `${map.family} ${map.table}`;
  return new Error(
    `table ${table} of nftables is not as weft made it, or something keeps removing it: ` +
      `look at it with "nft list table ${table}"; ` +
      `if it is not weft's, rename it, if it is, "nft delete table ${table}" lets weft make it anew`,
    {cause},
  );
}
