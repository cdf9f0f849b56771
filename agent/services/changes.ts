import type {Family} from '../../lib/ip/address.ts';
import {chainOperations} from '../../lib/nat/table.ts';
import {deleteChain, ensureChain, type ChainRef} from '../../lib/netlink/nft/chain.ts';
import {addElements, deleteElements, type Element} from '../../lib/netlink/nft/element.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {addRule} from '../../lib/netlink/nft/rule.ts';
import {addSet, deleteSet, ensureSet} from '../../lib/netlink/nft/set.ts';
import {deleteTable, ensureTable} from '../../lib/netlink/nft/table.ts';
import type {KernelState, Links} from './kernel-state.ts';
import {
  baseChains,
  frontends,
  guards,
  locals,
  maps,
  slotMap,
  table,
  type FrontendObjects,
} from './ruleset.ts';
import type {RuledChain} from '../../lib/nat/table.ts';

// So many elements fit into one attribute, whose length has 16 bits.
const mostPerMessage = 400;

/** Makes the table with all that is always in it, in place of what there is. */
export function planBase({isThere}: {readonly isThere: boolean}): readonly Operation[] {
  return [
    ...(isThere ? [deleteTable(table)] : []),
    ensureTable({...table, comment: 'addresses of services, made by weft'}),
    ...maps.map((map, i) => ensureSet({...map, id: i + 1})),
    ...baseChains.flatMap(chainOperations),
  ];
}

/** What of a frontend changes: from what it has in the kernel to what it shall have; undefined where it is not. */
export interface FrontendChange {
  readonly before:
    | (Pick<FrontendObjects, 'family' | 'key' | 'frontend' | 'guard'> & {
        readonly slots:
          | {readonly id: string; readonly elements: readonly {readonly key: Uint8Array}[]}
          | undefined;
        readonly sets: readonly {readonly set: string}[];
        readonly chains: readonly {readonly chain: string}[];
      })
    | undefined;
  readonly after: FrontendObjects | undefined;
}

/** One transaction: new objects, then the elements that lead to them, then what nothing leads to any more. */
export interface PlannedChange {
  readonly additions: readonly Operation[];
  /** May be refused with EBUSY on kernels that let go of references late: then they are for another time. */
  readonly removals: readonly Operation[];
}

export function planChanges(changes: readonly FrontendChange[]): PlannedChange {
  let id = 0;
  const additions: Operation[] = slotMapsOf(changes).map((map) => ensureSet({...map, id: ++id}));
  const removals: Operation[] = [];
  for (const {before, after} of changes) {
    const had = {
      sets: new Set(before?.sets.map(({set}) => set)),
      chains: new Set(before?.chains.map(({chain}) => chain)),
    };
    const filled = planSlotChange(before, after);
    additions.push(...filled.additions);
    for (const set of after?.sets ?? []) {
      if (!had.sets.delete(set.set)) additions.push(addSet({...set, id: ++id}));
    }
    for (const chain of after?.chains ?? []) {
      if (!had.chains.delete(chain.chain)) additions.push(...chainOperations(chain));
    }
    for (const [map, name] of [
      [frontends, 'frontend'],
      [guards, 'guard'],
    ] as const) {
      additions.push(
        ...planLink(map, before && {...before, to: before[name]}, after && {...after, to: after[name]}),
      );
    }
    // A chain before those it leads to, and both before the maps they look into.
    const chains = before?.chains.map(({chain}) => chain).filter((chain) => had.chains.has(chain)) ?? [];
    removals.push(...chains.toReversed().map((chain) => deleteChain({...table, chain})));
    removals.push(...filled.removals, ...[...had.sets].map((set) => deleteSet({...table, set, key: 'mark'})));
  }
  return {additions, removals};
}

/** The maps that new slots go into, unless they are there. */
function slotMapsOf(changes: readonly FrontendChange[]) {
  const maps = changes.flatMap(({before, after}) =>
    after?.slots && after.slots.id !== before?.slots?.id ? [slotMap(after.family, after.slots.id)] : [],
  );
  return [...new Map(maps.map((map) => [map.set, map])).values()];
}

/** Slots of another id come before the chain that looks them up, and the old ones go behind theirs. */
function planSlotChange(before: FrontendChange['before'], after: FrontendObjects | undefined): PlannedChange {
  const [had, wanted] = [before?.slots, after?.slots];
  const isSame = had !== undefined && had.id === wanted?.id;
  if (isSame && had.elements.length === wanted?.elements.length) return {additions: [], removals: []};
  const remove = had && before ? removeSlots(before.family, had.id, had.elements) : [];
  const add =
    wanted && after
      ? inPieces(wanted.elements).map((piece) => addElements(slotMap(after.family, wanted.id), piece))
      : [];
  // Some of the same id are gone: the others make room first.
  return isSame ? {additions: [...remove, ...add], removals: []} : {additions: add, removals: remove};
}

function removeSlots(
  family: Family,
  id: string,
  elements: readonly {readonly key: Uint8Array}[],
): readonly Operation[] {
  const map = slotMap(family, id);
  return inPieces(elements).map((piece) =>
    deleteElements(
      map,
      piece.map(({key}) => key),
    ),
  );
}

interface LinkEnd {
  readonly family: Family;
  readonly key: Uint8Array;
  readonly to: string | undefined;
  readonly comment?: string;
}

function planLink(
  map: typeof frontends | typeof guards | typeof locals,
  before: LinkEnd | undefined,
  after: LinkEnd | undefined,
): readonly Operation[] {
  if (before?.to === after?.to) return [];
  return [
    ...(before?.to === undefined ? [] : [deleteElements(map[before.family], [before.key])]),
    ...(after?.to === undefined
      ? []
      : [
          addElements(map[after.family], [
            {
              key: after.key,
              verdict: {kind: 'goto', chain: after.to},
              ...(after.comment !== undefined && {comment: after.comment}),
            },
          ]),
        ]),
  ];
}

/** An instance's address, and the chain for clients beside it. */
export interface Local {
  readonly family: Family;
  readonly key: Uint8Array;
  readonly chain: RuledChain;
}

/** Brings the map of instances beside their clients in line. Chains of subnets are few, and stay. */
export function planLocals(
  before: Readonly<Record<Family, Links>>,
  after: readonly Local[],
): readonly Operation[] {
  const operations: Operation[] = [];
  const wanted = {4: new Map<string, Local>(), 6: new Map<string, Local>()};
  for (const local of after) wanted[local.family].set(hex(local.key), local);
  const chains = new Map(after.map(({chain}) => [chain.chain, chain]));
  const known = new Set([...before[4].values(), ...before[6].values()]);
  for (const chain of chains.values()) if (!known.has(chain.chain)) operations.push(...ensureRules(chain));
  for (const family of [4, 6] as const) {
    for (const [key, to] of before[family]) {
      const local = wanted[family].get(key);
      if (local?.chain.chain === to) continue;
      operations.push(deleteElements(locals[family], [Buffer.from(key, 'hex')]));
    }
    const added = [...wanted[family]].filter(([key, {chain}]) => before[family].get(key) !== chain.chain);
    const elements = added.map(([, {key, chain}]): Element => ({
      key,
      verdict: {kind: 'goto', chain: chain.chain},
    }));
    operations.push(...inPieces(elements).map((piece) => addElements(locals[family], piece)));
  }
  return operations;
}

/** The chain may be there, left by others: its only rule says the same twice then, which does no harm. */
function ensureRules({rules, ...made}: RuledChain): readonly Operation[] {
  const ref: ChainRef = {family: made.family, table: made.table, chain: made.chain};
  return [ensureChain(made), ...rules.map((statements) => addRule({...ref, statements}))];
}

/** What the kernel has and nobody wants: frontends that went while no agent ran, and what was left for another time. */
export function planLeftovers(state: KernelState, wanted: readonly FrontendObjects[]): PlannedChange {
  const chains = new Set(wanted.flatMap((each) => each.chains.map(({chain}) => chain)));
  const sets = new Set(wanted.flatMap((each) => each.sets.map(({set}) => set)));
  for (const {family, slots} of wanted) if (slots) sets.add(slotMap(family, slots.id).set);
  const ids = new Set(wanted.map((each) => each.slots?.id));
  const keys = {4: new Set<string>(), 6: new Set<string>()};
  for (const {family, key} of wanted) keys[family].add(hex(key));
  const additions = [frontends, guards].flatMap((map, i) =>
    ([4, 6] as const).flatMap((family) =>
      [...(i === 0 ? state.frontends : state.guards)[family].keys()]
        .filter((key) => !keys[family].has(key))
        .map((key) => deleteElements(map[family], [Buffer.from(key, 'hex')])),
    ),
  );
  const isLocal = (chain: string) => chain.startsWith('from-');
  const removals = [
    ...[...state.chains]
      .filter((chain) => !chains.has(chain) && !isLocal(chain))
      .map((chain) => deleteChain({...table, chain})),
    ...([4, 6] as const).flatMap((family) =>
      [...state.slots[family]]
        .filter(([id]) => !ids.has(id))
        .flatMap(([id, found]) =>
          removeSlots(
            family,
            id,
            found.map((key) => ({key})),
          ),
        ),
    ),
    ...[...state.sets].filter((set) => !sets.has(set)).map((set) => deleteSet({...table, set, key: 'mark'})),
  ];
  return {additions, removals};
}

/** What a frontend has in the kernel, of what it shall have. */
export function findIn(state: KernelState, wanted: FrontendObjects): NonNullable<FrontendChange['before']> {
  const {family, key, sets, chains, slots: filled} = wanted;
  const found = filled && state.slots[family].get(filled.id);
  return {
    family,
    key,
    frontend: state.frontends[family].get(hex(key)),
    guard: state.guards[family].get(hex(key)),
    slots: filled && found && {id: filled.id, elements: found.map((each) => ({key: each}))},
    sets: sets.filter(({set}) => state.sets.has(set)),
    chains: chains.filter(({chain}) => state.chains.has(chain)),
  };
}

function inPieces<Value>(elements: readonly Value[]): readonly (readonly Value[])[] {
  const count = Math.ceil(elements.length / mostPerMessage);
  return Array.from({length: count}, (_, i) => elements.slice(i * mostPerMessage, (i + 1) * mostPerMessage));
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
