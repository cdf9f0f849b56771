import {familyOf, ipBytes, type Ip} from '../ip/address.ts';
import {ensureAdmission} from '../nat/admission.ts';
import {chainOperations, checkChain} from '../nat/table.ts';
import {isNotFound, isRetryable} from '../netlink/error.ts';
import {listChains} from '../netlink/nft/chain.ts';
import {deleteElements, ensureElements, listElements} from '../netlink/nft/element.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {ensureSet} from '../netlink/nft/set.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {deleteTable, ensureTable, findTable} from '../netlink/nft/table.ts';
import {commit, getGeneration} from '../netlink/nft/transaction.ts';
import {planRuleset, rulesetTable, type Ruleset, type RulesetOptions} from './ruleset.ts';
import type {Desired} from './state.ts';

/** Addresses in network byte order, by their hexadecimal digits. */
type Members = ReadonlyMap<string, Uint8Array>;

/** What nftables had after a call: given to the next one, it spares asking. */
export interface RulesetState {
  /** All tables of the namespace have one; it counts their transactions. */
  readonly generation: number;
  /** The rules, as text. */
  readonly rules: string;
  readonly members: Members;
  /** What the call did: nothing, changed who is a member, or made all of it anew. */
  readonly did: 'nothing' | 'members' | 'all';
}

// So many elements fit into one attribute, whose length has 16 bits.
const mostPerMessage = 500;
const attempts = 50;

/**
 * Makes the network's table what it shall be. Where nobody touched nftables since `before`, a change of members costs as
 * many elements; else all of it is compared, and replaced in one transaction where the rules differ.
 */
export async function ensureRuleset(
  nft: NetfilterSocket,
  desired: Pick<Desired, 'network' | 'devices' | 'subnets' | 'sources'>,
  options: RulesetOptions,
  before?: RulesetState,
): Promise<RulesetState> {
  const ruleset = planRuleset(desired, options);
  const rules = textOf(ruleset);
  const members = membersOf(options.filter ? desired.sources : []);
  if (options.forwardMark !== undefined) {
    const families = new Set(desired.network.ranges.map(({ip}) => familyOf(ip)));
    await ensureAdmission(nft, [...families], options.forwardMark);
  }
  for (let attempt = 1; ; attempt++) {
    const generation = await getGeneration(nft);
    const isKnown = before?.rules === rules && before.generation === generation;
    const {operations, did} = isKnown
      ? plan(ruleset, before.members, members)
      : await compare(nft, ruleset, members);
    if (operations.length === 0) return {generation, rules, members, did};
    try {
      await commit(nft, operations, {generation});
      // Every transaction counts one. Should another one come in between, the next call compares.
      return {generation: generation + 1, rules, members, did};
    } catch (error) {
      if (!isRetryable(error) || attempt === attempts) throw error;
    }
  }
}

/**
 * What of the network's table is not as it shall be, in sentences. What networks are kept apart is not looked at: the table of
 * one that came later says it for both.
 */
export async function checkRuleset(
  nft: NetfilterSocket,
  desired: Pick<Desired, 'network' | 'devices' | 'subnets' | 'sources'>,
  options: RulesetOptions,
): Promise<readonly string[]> {
  const ruleset = planRuleset(desired, options);
  const {table, chains} = ruleset;
  if ((await findTable(nft, table)) === undefined) return [`table inet ${table.table} is gone`];
  const compared = chains.filter(({chain}) => chain !== 'forward');
  const differences = await Promise.all(compared.map((chain) => checkChain(nft, chain)));
  const found = differences.filter((sentence) => sentence !== undefined);
  if (found.length > 0) return found;
  const {operations} = plan(
    ruleset,
    await listMembers(nft, ruleset),
    membersOf(options.filter ? desired.sources : []),
  );
  return operations.map((operation) => operation.text());
}

/** Removes the table of a network; one that is not there is removed. */
export async function removeRuleset(nft: NetfilterSocket, network: string): Promise<void> {
  try {
    await commit(nft, [deleteTable(rulesetTable(network))]);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** What makes the table where there is none. */
export function planTable(ruleset: Ruleset, members: Members): readonly Operation[] {
  const {table, comment, sets, chains} = ruleset;
  return [
    ensureTable({...table, comment}),
    ...([4, 6] as const).map((family) => ensureSet({...sets[family], id: family})),
    ...plan(ruleset, new Map(), members).operations,
    ...chains.flatMap((chain) => chainOperations(chain)),
  ];
}

/** Addresses as elements of the sets. */
export function membersOf(addresses: readonly Ip[]): Members {
  return new Map(
    addresses.map((ip) => {
      const bytes = ipBytes(ip);
      return [bytes.toString('hex'), bytes];
    }),
  );
}

function textOf(ruleset: Ruleset): string {
  return planTable(ruleset, new Map())
    .map((operation) => operation.text())
    .join('\n');
}

interface Plan {
  readonly operations: readonly Operation[];
  readonly did: RulesetState['did'];
}

/** Looks at everything. */
async function compare(nft: NetfilterSocket, ruleset: Ruleset, members: Members): Promise<Plan> {
  if (await hasRules(nft, ruleset)) {
    return plan(ruleset, await listMembers(nft, ruleset), members);
  }
  const isThere = (await findTable(nft, ruleset.table)) !== undefined;
  const remove = isThere ? [deleteTable(ruleset.table)] : [];
  return {operations: [...remove, ...planTable(ruleset, members)], did: 'all'};
}

async function listMembers(nft: NetfilterSocket, {sets}: Ruleset): Promise<Members> {
  const found = await Promise.all(([4, 6] as const).map((family) => listElements(nft, sets[family])));
  return new Map(found.flat().map(({key}) => [Buffer.from(key).toString('hex'), key]));
}

async function hasRules(nft: NetfilterSocket, {table, comment, chains}: Ruleset): Promise<boolean> {
  if ((await findTable(nft, table))?.comment !== comment) return false;
  const found = await listChains(nft, table);
  if (found.length !== chains.length) return false;
  const isBase = chains.every(
    ({chain, base}) => found.find((each) => each.chain === chain)?.priority === base?.priority,
  );
  if (!isBase) return false;
  const differences = await Promise.all(chains.map((chain) => checkChain(nft, chain)));
  return differences.every((sentence) => sentence === undefined);
}

/** From some members to others. */
function plan({sets}: Ruleset, before: Members, after: Members): Plan {
  const gone = [...before].filter(([text]) => !after.has(text)).map(([, key]) => key);
  const added = [...after].filter(([text]) => !before.has(text)).map(([, key]) => key);
  const operations = ([4, 6] as const).flatMap((family) => {
    const size = {4: 4, 6: 16}[family];
    const ofFamily = (keys: readonly Uint8Array[]) => chunks(keys.filter(({length}) => length === size));
    return [
      ...ofFamily(added).map((keys) =>
        ensureElements(
          sets[family],
          keys.map((key) => ({key})),
        ),
      ),
      ...ofFamily(gone).map((keys) => deleteElements(sets[family], keys)),
    ];
  });
  return {operations, did: operations.length === 0 ? 'nothing' : 'members'};
}

function chunks<T>(items: readonly T[]): readonly (readonly T[])[] {
  const count = Math.ceil(items.length / mostPerMessage);
  return Array.from({length: count}, (_, i) => items.slice(i * mostPerMessage, (i + 1) * mostPerMessage));
}
