import {bitsOf, type Family} from '../../ip/address.ts';
import {cmpOps} from './expr/cmp.ts';
import {dynsetOps} from './expr/dynset.ts';
import {hashTypes} from './expr/hash.ts';
import {limitOver} from './expr/limit.ts';
import {metaKeys} from './expr/meta.ts';
import {natTypes} from './expr/nat.ts';
import {numgenTypes} from './expr/numgen.ts';
import {payloadBases} from './expr/payload.ts';
import {icmpxCodes, rejectTypes} from './expr/reject.ts';
import {register, type Expression} from './expression.ts';
import {families} from './operation.ts';
import type {Statement} from './rule.ts';
import type {SetRef} from './set.ts';

// Statements that spread connections over several destinations. For tables of family inet.

/** A map or set; with its id where the same transaction makes it. */
type Used = SetRef & {readonly id?: number};

/** Which of `slots` numbers a connection gets: the next, any, or the one of its source address. */
export interface Choice {
  readonly by: 'inc' | 'random' | 'source';
  readonly slots: number;
  /** Eight bytes in front of the number, where one map holds the slots of many: a map for each would cost as much as there are. */
  readonly id?: Uint8Array;
}

// linux/netfilter/nf_tables.h, registers of 16 bytes; of each, four of 4 bytes are counted from NFT_REG32_00.
const register32 = (register: number) => 8 + (register - 1) * 4;

/** Where a statement computes: an address takes one register, an address and a port may take two. */
interface Registers {
  readonly source: number;
  /** The number, behind the id where there is one. */
  readonly key: number;
  readonly target: number;
}

/** As nft does it, which forgets the number when it has the target. */
const forgetting: Registers = {source: 2, key: 1, target: 1};
/** With the source still there when the target is. */
const keeping: Registers = {source: 1, key: 4, target: 2};

const words = {4: 'ip', 6: 'ip6'} as const;
const sourceOffsets = {4: 12, 6: 8} as const;
const hashSeed = 0x77656674;

/** `dnat ip to numgen inc mod 3 map @slots`: the destination, address and port, is what the map has for the number. */
export function dnatBySlot(family: Family, choice: Choice, slots: Used): Statement {
  return {
    text: `meta nfproto ipv${family} dnat ${words[family]} to ${formatChoice(family, choice)} map @${slots.set}`,
    expressions: [
      ...ofFamily(family),
      ...(choice.by === 'source' ? [loadSource(family, forgetting)] : []),
      ...choose(family, choice, forgetting),
      lookUp(slots, forgetting.key, forgetting),
      dnatToTarget(family, forgetting),
    ],
  };
}

/** As `dnatBySlot`, and the source keeps what it got for as long as the dynamic map `kept` says. */
export function dnatBySlotAndKeep(
  family: Family,
  choice: Choice,
  {slots, kept}: {readonly slots: Used; readonly kept: Used},
): Statement {
  return {
    text: `meta nfproto ipv${family} update @${kept.set} { ${words[family]} saddr : ${formatChoice(family, choice)} map @${slots.set} } dnat to it`,
    expressions: [
      ...ofFamily(family),
      loadSource(family, keeping),
      ...choose(family, choice, keeping),
      lookUp(slots, keeping.key, keeping),
      keepTarget(kept),
      dnatToTarget(family, keeping),
    ],
  };
}

/** The destination that the source got before, if it did; its time begins anew. */
export function dnatByKept(family: Family, kept: Used): Statement {
  return {
    text: `meta nfproto ipv${family} update @${kept.set} { ${words[family]} saddr : ${words[family]} saddr map @${kept.set} } dnat to it`,
    expressions: [
      ...ofFamily(family),
      loadSource(family, keeping),
      lookUp(kept, keeping.source, keeping),
      keepTarget(kept),
      dnatToTarget(family, keeping),
    ],
  };
}

/** How many packets a second; so many at once after a pause. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** `limit rate over 100/second burst 100 packets`. */
export function matchOverLimit(rate: Rate): Statement {
  return {text: formatRate(rate), expressions: [{name: 'limit', data: limitData(rate)}]};
}

/** `update @sources { ip saddr limit rate over 5/second burst 5 packets }`: each source by itself. */
export function matchSourceOverLimit(family: Family, sources: Used, rate: Rate): Statement {
  return {
    text: `update @${sources.set} { ${words[family]} saddr ${formatRate(rate)} }`,
    expressions: [
      ...ofFamily(family),
      loadSource(family, keeping),
      {
        name: 'dynset',
        data: {
          set: sources.set,
          setId: sources.id,
          op: dynsetOps.update,
          keyRegister: keeping.source,
          expression: {name: 'limit', data: limitData(rate)},
        },
      },
    ],
  };
}

/** `reject with tcp reset`: behind a match of TCP. */
export function rejectWithReset(): Statement {
  return {
    text: 'reject with tcp reset',
    expressions: [{name: 'reject', data: {type: rejectTypes.tcpReset, code: 0}}],
  };
}

/** `reject with icmpx port-unreachable`. */
export function rejectAsUnreachable(): Statement {
  return {
    text: 'reject with icmpx port-unreachable',
    expressions: [{name: 'reject', data: {type: rejectTypes.icmpx, code: icmpxCodes.portUnreachable}}],
  };
}

function lookUp({set, id}: Used, sreg: number, {target}: Registers): Expression {
  return {name: 'lookup', data: {set, setId: id, sreg, dreg: target}};
}

function choose(family: Family, {by, slots, id}: Choice, {source, key}: Registers): Expression[] {
  // Behind the two words of the id.
  const number = id ? register32(key) + 2 : key;
  return [
    ...(id ? [{name: 'immediate', data: {dreg: key, data: {value: id}}} as const] : []),
    by === 'source'
      ? {
          name: 'hash',
          data: {
            sreg: source,
            dreg: number,
            length: bitsOf(family) / 8,
            modulus: slots,
            seed: hashSeed,
            offset: 0,
            type: hashTypes.jenkins,
          },
        }
      : {name: 'numgen', data: {dreg: number, modulus: slots, type: numgenTypes[by], offset: 0}},
  ];
}

function formatChoice(family: Family, {by, slots, id}: Choice): string {
  const number =
    by === 'source'
      ? `jhash ${words[family]} saddr mod ${slots} seed 0x${hashSeed.toString(16)}`
      : `numgen ${by} mod ${slots}`;
  return id ? `0x${Buffer.from(id).toString('hex')} . ${number}` : number;
}

function loadSource(family: Family, {source}: Registers): Expression {
  return {
    name: 'payload',
    data: {
      dreg: source,
      base: payloadBases.network,
      offset: sourceOffsets[family],
      length: bitsOf(family) / 8,
    },
  };
}

function keepTarget(kept: Used): Expression {
  return {
    name: 'dynset',
    data: {
      set: kept.set,
      setId: kept.id,
      op: dynsetOps.update,
      keyRegister: keeping.source,
      dataRegister: keeping.target,
    },
  };
}

function dnatToTarget(family: Family, {target}: Registers): Expression {
  return {
    name: 'nat',
    data: {
      type: natTypes.dnat,
      family: families[words[family]],
      addressMin: target,
      // The port is behind the address: in the next register of its size.
      portMin: family === 4 ? register32(target) + 1 : target + 1,
    },
  };
}

function limitData({perSecond, burst}: Rate) {
  return {rate: BigInt(perSecond), unit: 1n, burst, type: 0, flags: limitOver};
}

function formatRate({perSecond, burst}: Rate): string {
  return `limit rate over ${perSecond}/second burst ${burst} packets`;
}

function ofFamily(family: Family): Expression[] {
  return [
    {name: 'meta', data: {key: metaKeys.nfproto, dreg: register}},
    {
      name: 'cmp',
      data: {sreg: register, op: cmpOps.eq, value: {value: Uint8Array.of(families[words[family]])}},
    },
  ];
}
