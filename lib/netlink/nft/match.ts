import {bitsOf, familyOf, formatIp, ipBytes} from '../../ip/address.ts';
import type {Ip} from '../../ip/address.ts';
import {formatCidr, subnetOf} from '../../ip/cidr.ts';
import type {Cidr} from '../../ip/cidr.ts';
import {macBytes} from '../../ip/mac.ts';
import {cmpOps} from './expr/cmp.ts';
import {ctKeys, ctStates} from './expr/ct.ts';
import {metaKeys} from './expr/meta.ts';
import {payloadBases} from './expr/payload.ts';
import {rangeOps} from './expr/range.ts';
import {register} from './expression.ts';
import type {Expression} from './expression.ts';
import {families} from './operation.ts';
import type {Statement} from './rule.ts';

// Matches with either comparison, for conditions that people write. Tables of family inet.

/** `==`, which nft leaves out, or `!=`. */
export type Comparison = '==' | '!=';

const words = {4: 'ip', 6: 'ip6'} as const;
const addressOffsets = {4: {saddr: 12, daddr: 16}, 6: {saddr: 8, daddr: 24}} as const;
const portOffsets = {sport: 0, dport: 2} as const;
const macOffsets = {daddr: 0, saddr: 6} as const;

/** IANA's numbers of the protocols that have ports. */
export const portProtocols = {tcp: 6, udp: 17, sctp: 132} as const;
export type PortProtocol = keyof typeof portProtocols;

/** `ip saddr != 10.0.0.0/8`; the subnet's host bits do not matter. */
export function compareSubnet(field: 'saddr' | 'daddr', comparison: Comparison, cidr: Cidr): Statement {
  const family = familyOf(cidr.ip);
  const {ip, prefix} = subnetOf(cidr);
  if (prefix === 0) {
    if (comparison === '!=')
      throw new Error(`no packet is from or to an address outside ${formatCidr(cidr)}`);
    return {text: `meta nfproto ipv${family}`, expressions: ofFamily(family)};
  }
  const bits = bitsOf(family);
  // As nft does: whole bytes are compared as they are, for the rest the host bits are cut off.
  const whole = prefix % 8 === 0;
  const length = whole ? prefix / 8 : bits / 8;
  const value = prefix === bits ? formatIp(ip) : formatCidr({ip, prefix});
  return statement(`${words[family]} ${field}`, comparison, value, [
    ...ofFamily(family),
    loadAddress(field, family, length),
    ...(whole ? [] : [masked(prefixMask(prefix, length))]),
    compare(comparison, ipBytes(ip).subarray(0, length)),
  ]);
}

/** `ip saddr 10.0.0.5-10.0.0.9`; both of one family. */
export function compareAddressRange(
  field: 'saddr' | 'daddr',
  comparison: Comparison,
  {first, last}: {readonly first: Ip; readonly last: Ip},
): Statement {
  const family = familyOf(first);
  return statement(`${words[family]} ${field}`, comparison, `${formatIp(first)}-${formatIp(last)}`, [
    ...ofFamily(family),
    loadAddress(field, family, bitsOf(family) / 8),
    between(comparison, ipBytes(first), ipBytes(last)),
  ]);
}

/** `iifname "eth*"`: a star at the end stands for any rest. */
export function compareInputInterface(comparison: Comparison, name: string): Statement {
  const isPrefix = name.endsWith('*');
  const padded = Buffer.alloc(16);
  padded.write(name);
  const value = isPrefix ? Buffer.from(name.slice(0, -1)) : padded;
  return statement('iifname', comparison, `"${name}"`, [
    {name: 'meta', data: {key: metaKeys.iifname, dreg: register}},
    compare(comparison, value),
  ]);
}

// linux/if_arp.h, ARPHRD_ETHER: other links have something else in front of the network header.
const ethernet = Uint8Array.of(1, 0);
const metaIiftype = 8;

/** `ether saddr 02:00:00:00:00:01`. */
export function compareMac(field: 'saddr' | 'daddr', comparison: Comparison, mac: string): Statement {
  return statement(`ether ${field}`, comparison, mac, [
    {name: 'meta', data: {key: metaIiftype, dreg: register}},
    compare('==', ethernet),
    {
      name: 'payload',
      data: {dreg: register, base: payloadBases.link, offset: macOffsets[field], length: 6},
    },
    compare(comparison, macBytes(mac)),
  ]);
}

/** `meta mark 0x1`, `ct mark & 0xff != 0x3`. */
export function compareMark(
  of: 'meta' | 'ct',
  comparison: Comparison,
  {value, mask = 0xffff_ffff}: {readonly value: number; readonly mask?: number},
): Statement {
  const load: Expression =
    of === 'meta'
      ? {name: 'meta', data: {key: metaKeys.mark, dreg: register}}
      : {name: 'ct', data: {key: ctKeys.mark, dreg: register}};
  if (mask === 0xffff_ffff)
    return statement(`${of} mark`, comparison, hex(value), [load, compare(comparison, u32(value))]);
  return {
    // Here nft wants "==" said.
    text: `${of} mark & ${hex(mask)} ${comparison} ${hex(value)}`,
    expressions: [load, masked(u32(mask)), compare(comparison, u32(value))],
  };
}

export type ConnectionState = keyof typeof ctStates;

/** `ct state established,related`: any of them; or, with `!=`, none of them. */
export function compareConnectionState(
  comparison: Comparison,
  states: readonly ConnectionState[],
): Statement {
  const load: Expression = {name: 'ct', data: {key: ctKeys.state, dreg: register}};
  const list = (Object.keys(ctStates) as ConnectionState[]).filter((state) => states.includes(state));
  if (comparison === '!=') {
    return {
      text: list.map((state) => `ct state != ${state}`).join(' '),
      // A connection has one state.
      expressions: list.flatMap((state) => [load, compare('!=', u32(ctStates[state]))]),
    };
  }
  const bits = list.reduce((sum, state) => sum | ctStates[state], 0);
  return {
    text: `ct state ${list.join(',')}`,
    expressions: [load, masked(u32(bits)), compare('!=', u32(0))],
  };
}

/** `meta l4proto udp`. */
export function compareProtocol(comparison: Comparison, protocol: PortProtocol | number): Statement {
  const number = typeof protocol === 'number' ? protocol : portProtocols[protocol];
  return statement('meta l4proto', comparison, String(protocol), [
    {name: 'meta', data: {key: metaKeys.l4proto, dreg: register}},
    compare(comparison, Uint8Array.of(number)),
  ]);
}

/** `tcp sport 1024-65535`; `th` is of any protocol. */
export function comparePorts(
  protocol: PortProtocol | 'th',
  {field, first, last = first}: {field: 'sport' | 'dport'; first: number; last?: number},
  comparison: Comparison,
): Statement {
  const value = first === last ? String(first) : `${first}-${last}`;
  return statement(`${protocol} ${field}`, comparison, value, [
    ...(protocol === 'th' ? [] : compareProtocol('==', protocol).expressions),
    {
      name: 'payload',
      data: {dreg: register, base: payloadBases.transport, offset: portOffsets[field], length: 2},
    },
    first === last ? compare(comparison, u16be(first)) : between(comparison, u16be(first), u16be(last)),
  ]);
}

function statement(
  what: string,
  comparison: Comparison,
  value: string,
  expressions: readonly Expression[],
): Statement {
  return {text: `${what}${comparison === '!=' ? ' !=' : ''} ${value}`, expressions};
}

function ofFamily(family: 4 | 6): Expression[] {
  return [
    {name: 'meta', data: {key: metaKeys.nfproto, dreg: register}},
    compare('==', Uint8Array.of(families[words[family]])),
  ];
}

function loadAddress(field: 'saddr' | 'daddr', family: 4 | 6, length: number): Expression {
  const offset = addressOffsets[family][field];
  return {name: 'payload', data: {dreg: register, base: payloadBases.network, offset, length}};
}

function prefixMask(prefix: number, length: number): Uint8Array {
  const mask = Buffer.alloc(length);
  for (let bit = 0; bit < prefix; bit++) mask[bit >> 3]! |= 0x80 >> (bit & 7);
  return mask;
}

function compare(comparison: Comparison, value: Uint8Array): Expression {
  const op = comparison === '==' ? cmpOps.eq : cmpOps.neq;
  return {name: 'cmp', data: {sreg: register, op, value: {value}}};
}

function between(comparison: Comparison, first: Uint8Array, last: Uint8Array): Expression {
  const op = comparison === '==' ? rangeOps.eq : rangeOps.neq;
  return {name: 'range', data: {sreg: register, op, from: {value: first}, to: {value: last}}};
}

function masked(mask: Uint8Array): Expression {
  const {length} = mask;
  const xor = {value: Buffer.alloc(length)};
  return {name: 'bitwise', data: {sreg: register, dreg: register, length, mask: {value: mask}, xor}};
}

function u32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u16be(value: number): Uint8Array {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
