import type {Family} from '../../ip/address.ts';
import {cmpOps} from './expr/cmp.ts';
import {metaKeys} from './expr/meta.ts';
import {natTypes} from './expr/nat.ts';
import {payloadBases} from './expr/payload.ts';
import {register, verdictRegister} from './expression.ts';
import type {Expression} from './expression.ts';
import {families} from './operation.ts';
import type {Statement} from './rule.ts';
import type {SetRef} from './set.ts';

// Look-ups by where a packet goes: its destination port, with or without its destination address. For tables of
// family inet. Ports are read as those of TCP, UDP, SCTP and DCCP, which all have them in the same place; the key holds the protocol,
// so that what other protocols have there matches nothing.

/** `ip daddr . meta l4proto . th dport`, or the same without the address. */
export type DestinationKey = 'address' | 'port';

// linux/netfilter/nf_tables.h: a register of 16 bytes is four of 4 bytes, counted from NFT_REG32_00.
const register32 = 8;

/** A map; with its id where the same transaction makes it. */
type LookedUp = SetRef & {readonly id?: number};

const words = {4: 'ip', 6: 'ip6'} as const;
const destinations = {4: {offset: 16, length: 4}, 6: {offset: 24, length: 16}} as const;

/** `meta l4proto . th dport vmap @name`: the verdict that the map has for the key. */
export function verdictOfDestination(key: DestinationKey, family: Family, map: LookedUp): Statement {
  return {
    text: `${formatKey(key, family)} vmap @${map.set}`,
    expressions: [
      ...ofFamily(family),
      ...loadKey(key, family),
      {name: 'lookup', data: {set: map.set, setId: map.id, sreg: register, dreg: verdictRegister}},
    ],
  };
}

/** `dnat ip to meta l4proto . th dport map @name`: the new destination, address and port, is what the map has for the key. */
export function dnatByDestination(key: DestinationKey, family: Family, map: LookedUp): Statement {
  const text = `dnat ${words[family]} to ${formatKey(key, family).replace(/^meta nfproto \S+ /, '')} map @${map.set}`;
  return {
    text: key === 'port' ? `meta nfproto ipv${family} ${text}` : text,
    expressions: [
      ...ofFamily(family),
      ...loadKey(key, family),
      {name: 'lookup', data: {set: map.set, setId: map.id, sreg: register, dreg: register}},
      {
        name: 'nat',
        data: {
          type: natTypes.dnat,
          family: families[words[family]],
          addressMin: register,
          // The port is behind the address: in the next register of its size.
          portMin: family === 4 ? register32 + 1 : register + 1,
        },
      },
    ],
  };
}

function formatKey(key: DestinationKey, family: Family): string {
  const ports = 'meta l4proto . th dport';
  return key === 'address' ? `${words[family]} daddr . ${ports}` : `meta nfproto ipv${family} ${ports}`;
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

function loadKey(key: DestinationKey, family: Family): Expression[] {
  const {offset, length} = destinations[family];
  const words = key === 'address' ? length / 4 : 0;
  return [
    ...(key === 'address'
      ? [{name: 'payload', data: {dreg: register, base: payloadBases.network, offset, length}} as const]
      : []),
    {name: 'meta', data: {key: metaKeys.l4proto, dreg: registerAfter(words)}},
    {
      name: 'payload',
      data: {dreg: register32 + words + 1, base: payloadBases.transport, offset: 2, length: 2},
    },
  ];
}

/** A value that begins where a register of 16 bytes does is put there, as nft writes it. */
function registerAfter(words: number): number {
  return words % 4 === 0 ? register + words / 4 : register32 + words;
}
