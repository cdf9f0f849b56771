import {createHash} from 'node:crypto';
import {ipBytes, parseIp, type Family} from '../../lib/ip/address.ts';
import {formatCidr, type Cidr} from '../../lib/ip/cidr.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import {
  dnatByKept,
  dnatBySlot,
  dnatBySlotAndKeep,
  matchOverLimit,
  matchSourceOverLimit,
  rejectAsUnreachable,
  rejectWithReset,
} from '../../lib/netlink/nft/balance.ts';
import {verdictOfDestination} from '../../lib/netlink/nft/key.ts';
import {compareConnectionState, compareProtocol, portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import type {NftSet, SetRef} from '../../lib/netlink/nft/set.ts';
import {
  masquerade,
  matchAddress,
  matchChangedDestination,
  verdict,
  verdictOfAddress,
} from '../../lib/netlink/nft/statement.ts';
import type {Frontend} from './frontend.ts';
import {planSlots, type SlotTable, type Target} from './slots.ts';

// Everything the agent makes for services. A packet costs a look-up in each of two maps, however many services there are, and only the
// first of a connection goes further. A frontend's chains and its slots are named after their content: a change makes new ones, leads the
// frontend's element there, and takes the old ones away, in one transaction. A few maps hold the slots of all.
//
//   table inet weft-services {
//     map frontends4 { type ipv4_addr . inet_proto . inet_service : verdict
//       elements = { 10.96.0.7 . tcp . 80 comment "default/shop" : goto to-0123456789abcdef } }
//     map guards4    { …the same key : verdict
//       elements = { 10.96.0.7 . tcp . 80 : goto guard-0123…, 10.96.0.8 . tcp . 80 : goto reject } }
//     map locals4    { type ipv4_addr : verdict; elements = { 10.1.0.5 : goto from-10.1.0.0/24 } }
//     map slots4-00  { type mark . mark . mark : ipv4_addr . inet_service     an id, and a number; up to 64 of them
//       elements = { 0x01234567 . 0x89abcdef . 0x00000000 : 10.1.0.5 . 8080, … } }
//     …and with 6
//     chain guard  { type filter hook prerouting and output priority -110; ct state new goto the guards }
//     chain nat    { type nat hook prerouting and output priority -100; look up the frontend }
//     chain source { type nat hook postrouting priority 99; ct status dnat ip daddr vmap @locals4 }
//     chain to-0123456789abcdef { dnat ip to 0x0123456789abcdef . numgen inc mod 3 map @slots4-01 }
//   }

export const table = {family: 'inet', table: 'weft-services'} as const;

const addressTypes = {4: 'ipv4_addr', 6: 'ipv6_addr'} as const;
const families: readonly Family[] = [4, 6];

function destinationMap(name: string, family: Family) {
  const key = [addressTypes[family], 'inet_proto', 'inet_service'] as const;
  return {...table, set: `${name}${family}`, key, data: 'verdict'} as const;
}

/** From a service's address, protocol and port to the chain that chooses an instance. */
export const frontends = {4: destinationMap('frontends', 4), 6: destinationMap('frontends', 6)} as const;
/** …and to the chain that decides whether a connection may begin. */
export const guards = {4: destinationMap('guards', 4), 6: destinationMap('guards', 6)} as const;
/** From an instance's address to the chain that masks clients which it would answer past this host. */
export const locals = {
  4: {...table, set: 'locals4', key: 'ipv4_addr', data: 'verdict'},
  6: {...table, set: 'locals6', key: 'ipv6_addr', data: 'verdict'},
} as const;

const slotKey = ['mark', 'mark', 'mark'] as const;
const slotData = {4: ['ipv4_addr', 'inet_service'], 6: ['ipv6_addr', 'inet_service']} as const;

/**
 * From a frontend's id and a number to where a connection goes. The maps are as many as it takes to keep both costs of the kernel low: it looks
 * for a map by its name among all of a table, and through all of a map's elements whenever another rule looks it up.
 */
export function slotMap(family: Family, id: string) {
  const shard = Number.parseInt(id.slice(0, 2), 16) % slotMaps;
  const set = `slots${family}-${shard.toString(16).padStart(2, '0')}`;
  return {...table, set, key: slotKey, data: slotData[family]} as const;
}

/** Whether a map is one that `slotMap` names; they come with the first slot. */
export function isSlotMap(name: string): boolean {
  return /^slots[46]-[0-9a-f]{2}$/.test(name);
}

const slotMaps = 64;

/** All maps that are always there. */
export const maps = [frontends, guards, locals].flatMap((each) => families.map((family) => each[family]));

const guardPriority = -110;
/** Before what others translate (dstnat is -100), so that a service's address is nobody else's. */
const natPriority = -101;
/** Before srcnat (100): what is masked here needs no more. */
const sourcePriority = 99;

const rejection: RuledChain = {
  ...table,
  chain: 'reject',
  rules: [[compareProtocol('==', 'tcp'), rejectWithReset()], [rejectAsUnreachable()]],
};

const inNewConnections: RuledChain = {
  ...table,
  chain: 'guard-new',
  rules: families.map((family) => [verdictOfDestination('address', family, guards[family])]),
};

const translation: RuledChain = {
  ...table,
  chain: 'translate',
  rules: families.map((family) => [verdictOfDestination('address', family, frontends[family])]),
};

const newToGuard = [
  compareConnectionState('==', ['new']),
  verdict({kind: 'goto', chain: inNewConnections.chain}),
];

/** The chains that are always there, each behind those it leads to. */
export const baseChains: readonly RuledChain[] = [
  rejection,
  inNewConnections,
  translation,
  ...(['prerouting', 'output'] as const).flatMap((hook): RuledChain[] => [
    {
      ...table,
      chain: `guard-${hook}`,
      base: {type: 'filter', hook, priority: guardPriority},
      rules: [newToGuard],
    },
    {
      ...table,
      chain: `nat-${hook}`,
      base: {type: 'nat', hook, priority: natPriority},
      rules: [[verdict({kind: 'goto', chain: translation.chain})]],
    },
  ]),
  {
    ...table,
    chain: 'source',
    base: {type: 'nat', hook: 'postrouting', priority: sourcePriority},
    rules: families.map((family) => [
      matchChangedDestination(),
      verdictOfAddress('daddr', family, locals[family]),
    ]),
  },
];

/** Elements of the map of slots, whose keys begin with one id. */
export interface Slots {
  /** Hexadecimal digits. */
  readonly id: string;
  readonly elements: readonly Element[];
}

/** What a frontend has in the kernel. */
export interface FrontendObjects {
  readonly family: Family;
  /** The key of its elements. */
  readonly key: Buffer;
  readonly comment: string;
  /** Where its connections go, by number; all of one id. */
  readonly slots: Slots | undefined;
  readonly sets: readonly Omit<NftSet, 'id'>[];
  /** Each behind those it leads to. */
  readonly chains: readonly RuledChain[];
  /** Where its elements lead; undefined where there is none. */
  readonly frontend: string | undefined;
  readonly guard: string | undefined;
  /** What sources got and keep, where they do. */
  readonly kept: SetRef | undefined;
  /** All destinations, as maps hold them. */
  readonly targets: readonly Buffer[];
}

const idSize = 8;
const slotKeySize = 12;
const stickySize = 65_535;
const sourceSeconds = 60;

/** Everything of one frontend. The same frontend gives the same names. */
export function planFrontend(frontend: Frontend): FrontendObjects {
  const {family, address, protocol, port, service, targets} = frontend;
  const key = Buffer.alloc(8);
  key[0] = portProtocols[protocol];
  key.writeUInt16BE(port, 4);
  const common = {family, key: Buffer.concat([ipBytes(address), key]), comment: service.slice(0, 128)};
  if (targets.length === 0) {
    return {
      ...common,
      slots: undefined,
      sets: [],
      chains: [],
      frontend: undefined,
      guard: rejection.chain,
      kept: undefined,
      targets: [],
    };
  }
  const translated = planTranslation(frontend);
  const guarded = planGuard(frontend);
  return {
    ...common,
    slots: translated.slots,
    sets: [...translated.sets, ...(guarded?.sets ?? [])],
    chains: [...(guarded ? [guarded.chain] : []), translated.chain],
    frontend: translated.chain.chain,
    guard: guarded?.chain.chain,
    kept: translated.kept,
    targets: targets.map(targetData),
  };
}

function planTranslation({key, family, protocol, policy, stickySeconds, targets}: Frontend) {
  const slotTable = planSlots(policy, targets);
  const id = nameOf([
    key,
    slotTable.by,
    stickySeconds,
    ...slotTable.slots.map(({address, port}) => `${address} ${port}`),
  ]);
  const data = [addressTypes[family], 'inet_service'] as const;
  // It keeps its name, and what it holds, when instances come and go.
  const kept = {
    ...table,
    set: `kept-${nameOf([key, stickySeconds])}`,
    key: addressTypes[family],
    data,
    dynamic: {timeoutMs: stickySeconds * 1000, size: stickySize},
  } as const;
  const choice = {by: slotTable.by, slots: slotTable.slots.length, id: Buffer.from(id, 'hex')};
  const ofProtocol = compareProtocol('==', protocol);
  const rules =
    stickySeconds > 0
      ? [
          [ofProtocol, dnatByKept(family, kept)],
          [ofProtocol, dnatBySlotAndKeep(family, choice, {slots: slotMap(family, id), kept})],
        ]
      : [[ofProtocol, dnatBySlot(family, choice, slotMap(family, id))]];
  const chain: RuledChain = {...table, chain: `to-${id}`, rules};
  const isSticky = stickySeconds > 0;
  return {
    slots: {id, elements: slotElements(id, slotTable)},
    sets: isSticky ? [kept] : [],
    chain,
    kept: isSticky ? kept : undefined,
  };
}

function slotElements(id: string, {slots: targets}: SlotTable): readonly Element[] {
  return targets.map((target, i) => {
    const key = Buffer.alloc(slotKeySize);
    key.write(id, 'hex');
    key.writeUInt32LE(i, idSize);
    return {key, data: targetData(target)};
  });
}

/** The id that a key of the map of slots begins with. */
export function idOfSlot(key: Uint8Array): string {
  return Buffer.from(key.subarray(0, idSize)).toString('hex');
}

/** A destination as maps hold it: the address, then the port in a register of its own. */
export function targetData({address, port}: Pick<Target, 'address' | 'port'>): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16BE(port);
  return Buffer.concat([ipBytes(parseIp(address)!), bytes]);
}

/** Limits, then who may come; undefined where everybody may, as often as they like. */
function planGuard({key, family, limit, limitPerSource, sources}: Frontend) {
  if (limit === undefined && limitPerSource === undefined && sources === undefined) return undefined;
  const id = nameOf([key, limit, limitPerSource, ...(sources?.map(formatCidr) ?? ['all'])]);
  const perSource = {
    ...table,
    set: `sources-${id}`,
    key: addressTypes[family],
    dynamic: {timeoutMs: sourceSeconds * 1000, size: stickySize},
  } as const;
  const toReject = verdict({kind: 'goto', chain: rejection.chain});
  const limits = [
    ...(limitPerSource === undefined
      ? []
      : [
          [
            matchSourceOverLimit(family, perSource, {perSecond: limitPerSource, burst: limitPerSource}),
            toReject,
          ],
        ]),
    ...(limit === undefined ? [] : [[matchOverLimit({perSecond: limit, burst: limit}), toReject]]),
  ];
  const chain: RuledChain = {
    ...table,
    chain: `guard-${id}`,
    rules:
      sources === undefined
        ? limits
        : [
            ...limits,
            ...sources.map((cidr) => [matchAddress('saddr', cidr), verdict({kind: 'return'})]),
            [toReject],
          ],
  };
  return {chain, sets: limitPerSource === undefined ? [] : [perSource]};
}

function nameOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16);
}

/** The chain that masks clients of a subnet, or just the instance itself, when they reach an instance in it through this host. */
export function planLocal(clients: Cidr): RuledChain {
  // nft reads no colons in a name.
  const chain = `from-${formatCidr(clients).replaceAll(':', '_')}`;
  return {...table, chain, rules: [[matchAddress('saddr', clients), masquerade()]]};
}
