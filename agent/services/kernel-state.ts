import type {Family} from '../../lib/ip/address.ts';
import {listChains} from '../../lib/netlink/nft/chain.ts';
import {listElements} from '../../lib/netlink/nft/element.ts';
import {isNotFound, NetlinkError} from '../../lib/netlink/error.ts';
import {listSets, type SetRef} from '../../lib/netlink/nft/set.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {findTable} from '../../lib/netlink/nft/table.ts';
import {baseChains, frontends, guards, idOfSlot, isSlotMap, locals, maps, table} from './ruleset.ts';

/** The elements of a map: from keys, as hexadecimal digits, to the chains they lead to. */
export type Links = Map<string, string>;

type LinksByFamily = Readonly<Record<Family, Links>>;

/** What the table holds. Chains and maps are named after their content, so that names say all of them. */
export interface KernelState {
  /** Of frontends alone. */
  readonly chains: ReadonlySet<string>;
  readonly sets: ReadonlySet<string>;
  readonly frontends: LinksByFamily;
  readonly guards: LinksByFamily;
  readonly locals: LinksByFamily;
  /** Keys of slots by their id. */
  readonly slots: Readonly<Record<Family, ReadonlyMap<string, readonly Uint8Array[]>>>;
}

const baseNames = new Set(baseChains.map(({chain}) => chain));
const mapNames: ReadonlySet<string> = new Set(maps.map(({set}) => set));

/** What is there; undefined where the table is not, or lacks what is always there. Lists all of the table. */
export async function readKernelState(nft: NetfilterSocket): Promise<KernelState | undefined> {
  if ((await findTable(nft, table)) === undefined) return undefined;
  try {
    const [chains, sets, ...elements] = await Promise.all([
      listChains(nft, table),
      listSets(nft, table),
      ...[frontends, guards, locals].flatMap((each) => [readLinks(nft, each[4]), readLinks(nft, each[6])]),
    ]);
    const names = new Set(chains.map(({chain}) => chain));
    const isWhole =
      baseChains.every(({chain}) => names.has(chain)) && [...mapNames].every((name) => sets.includes(name));
    // A base chain that was flushed is there without its rules.
    const isFlushed = chains.some(({chain, use}) => chain.startsWith('nat-') && use === 0);
    if (!isWhole || isFlushed) return undefined;
    const [frontends4, frontends6, guards4, guards6, locals4, locals6] = elements as [
      Links,
      Links,
      Links,
      Links,
      Links,
      Links,
    ];
    return {
      chains: new Set([...names].filter((name) => !baseNames.has(name))),
      sets: new Set(sets.filter((name) => !mapNames.has(name))),
      frontends: {4: frontends4, 6: frontends6},
      guards: {4: guards4, 6: guards6},
      locals: {4: locals4, 6: locals6},
      slots: {4: await readSlots(nft, sets, 4), 6: await readSlots(nft, sets, 6)},
    };
  } catch (error) {
    // Flushed between two questions.
    if (error instanceof NetlinkError && isNotFound(error)) return undefined;
    throw error;
  }
}

async function readLinks(nft: NetfilterSocket, map: SetRef): Promise<Links> {
  const elements = await listElements(nft, map);
  return new Map(
    elements.flatMap(({key, verdict}) =>
      verdict && 'chain' in verdict ? [[Buffer.from(key).toString('hex'), verdict.chain] as const] : [],
    ),
  );
}

async function readSlots(
  nft: NetfilterSocket,
  sets: readonly string[],
  family: Family,
): Promise<Map<string, Uint8Array[]>> {
  const found = new Map<string, Uint8Array[]>();
  const maps = sets.filter((name) => isSlotMap(name) && name.startsWith(`slots${family}`));
  for (const set of maps) {
    for (const {key} of await listElements(nft, {...table, set, key: 'mark'})) {
      const id = idOfSlot(key);
      const keys = found.get(id) ?? [];
      found.set(id, keys);
      keys.push(key);
    }
  }
  return found;
}

/** Nothing at all. */
export function emptyState(): KernelState {
  const none = (): LinksByFamily => ({4: new Map(), 6: new Map()});
  return {
    chains: new Set(),
    sets: new Set(),
    frontends: none(),
    guards: none(),
    locals: none(),
    slots: {4: new Map(), 6: new Map()},
  };
}
