import {bitsOf} from '../../ip/address.ts';
import type {Family} from '../../ip/address.ts';
import type {Cidr} from '../../ip/cidr.ts';
import {macBytes} from '../../ip/mac.ts';
import {cmpOps} from './expr/cmp.ts';
import {ctKeys, ctStatuses} from './expr/ct.ts';
import {fibFlags, fibResults} from './expr/fib.ts';
import {metaKeys} from './expr/meta.ts';
import {payloadBases} from './expr/payload.ts';
import {register, verdictRegister} from './expression.ts';
import type {Expression} from './expression.ts';
import {compareSubnet} from './match.ts';
import {families} from './operation.ts';
import type {Statement} from './rule.ts';
import type {SetRef} from './set.ts';
import {formatVerdict, verdictData} from './verdict.ts';
import type {Verdict} from './verdict.ts';

// Statements for tables of family inet (addresses) and bridge (hardware addresses).

type Field = 'saddr' | 'daddr';

/** Offset of both addresses in an IPv4 and an IPv6 header. */
const offsets = {4: {saddr: 12, daddr: 16}, 6: {saddr: 8, daddr: 24}} as const;
const words = {4: 'ip', 6: 'ip6'} as const;

/** linux/netfilter/nf_nat.h, NF_NAT_RANGE_PROTO_SPECIFIED: the port counts. */
const rangeSpecified = 2;

/** `ip daddr 10.1.0.0/16`; the subnet's host bits do not matter. */
export function matchAddress(field: Field, cidr: Cidr): Statement {
  return compareSubnet(field, '==', cidr);
}

/** `ip saddr vmap @name`: the verdict that the map has for the address. */
export function verdictOfAddress(
  field: Field,
  family: Family,
  map: SetRef & {readonly id?: number},
): Statement {
  return {
    text: `${words[family]} ${field} vmap @${map.set}`,
    expressions: [
      ...ofFamily(family),
      loadAddress(field, family, bitsOf(family) / 8),
      {
        name: 'lookup',
        data: {sreg: register, dreg: verdictRegister, set: map.set, setId: map.id},
      },
    ],
  };
}

/** `iifname "veth0"`. */
export function matchInputInterface(name: string): Statement {
  const padded = Buffer.alloc(16);
  padded.write(name);
  return {
    text: `iifname "${name}"`,
    expressions: [{name: 'meta', data: {key: metaKeys.iifname, dreg: register}}, equals(padded)],
  };
}

/** `iifname @names`: the interface is in a set of names. */
export function matchInputInterfaceSet(set: SetRef & {readonly id?: number}): Statement {
  return {
    text: `iifname @${set.set}`,
    expressions: [
      {name: 'meta', data: {key: metaKeys.iifname, dreg: register}},
      {name: 'lookup', data: {set: set.set, setId: set.id, sreg: register}},
    ],
  };
}

// linux/rtnetlink.h, RTN_LOCAL
const localType = 2;

/** `fib daddr type local`: the destination is an address of this host. */
export function matchLocalDestination(): Statement {
  return {
    text: 'fib daddr type local',
    expressions: [
      {name: 'fib', data: {flags: fibFlags.daddr, result: fibResults.addressType, dreg: register}},
      equals(hostOrder(localType)),
    ],
  };
}

/** `ct status dnat`: the destination of the connection was changed. */
export function matchChangedDestination(): Statement {
  return {
    text: 'ct status dnat',
    expressions: [
      {name: 'ct', data: {key: ctKeys.status, dreg: register}},
      maskWith(hostOrder(ctStatuses.dnat), hostOrder(0)),
      {name: 'cmp', data: {sreg: register, op: cmpOps.neq, value: {value: hostOrder(0)}}},
    ],
  };
}

/** `meta mark & 0x2000 == 0x2000`: the bit of the packet's mark is set. */
export function matchMarkBit(bit: number): Statement {
  return {
    text: `meta mark & ${hex(bit)} == ${hex(bit)}`,
    expressions: [
      {name: 'meta', data: {key: metaKeys.mark, dreg: register}},
      maskWith(hostOrder(bit), hostOrder(0)),
      equals(hostOrder(bit)),
    ],
  };
}

/** `meta mark set meta mark | 0x2000`. */
export function setMarkBit(bit: number): Statement {
  return {
    text: `meta mark set meta mark | ${hex(bit)}`,
    expressions: [
      {name: 'meta', data: {key: metaKeys.mark, dreg: register}},
      maskWith(hostOrder(~bit >>> 0), hostOrder(bit)),
      {name: 'meta', data: {key: metaKeys.mark, sreg: register}},
    ],
  };
}

/** `ether saddr aa:bb:cc:dd:ee:ff`, in a table of family bridge. */
export function matchSourceMac(mac: string): Statement {
  return {
    text: `ether saddr ${mac}`,
    expressions: [
      {name: 'payload', data: {dreg: register, base: payloadBases.link, offset: 6, length: 6}},
      equals(macBytes(mac)),
    ],
  };
}

/** `counter`, which counts packets and bytes from here on; iptables has one in each of its rules. */
export function counter(): Statement {
  return {text: 'counter', expressions: [{name: 'counter', data: {bytes: 0n, packets: 0n}}]};
}

export function masquerade(): Statement {
  return {text: 'masquerade', expressions: [{name: 'masq', data: {}}]};
}

/** `redirect to :53`: the packet is for this host, at that port. Behind a match of the protocol. */
export function redirectTo(port: number): Statement {
  const value = new Uint8Array([port >> 8, port & 0xff]);
  return {
    text: `redirect to :${port}`,
    expressions: [
      {name: 'immediate', data: {dreg: register, data: {value}}},
      {name: 'redir', data: {portMin: register, flags: rangeSpecified}},
    ],
  };
}

export function verdict(verdict: Verdict): Statement {
  return {
    text: formatVerdict(verdict),
    expressions: [{name: 'immediate', data: {dreg: verdictRegister, data: verdictData(verdict)}}],
  };
}

/** In a table of family inet the header is only known to be IPv4 or IPv6 after this. */
function ofFamily(family: Family): Expression[] {
  return [
    {name: 'meta', data: {key: metaKeys.nfproto, dreg: register}},
    equals(Uint8Array.of(families[words[family]])),
  ];
}

function loadAddress(field: Field, family: Family, length: number): Expression {
  const offset = offsets[family][field];
  return {name: 'payload', data: {dreg: register, base: payloadBases.network, offset, length}};
}

function equals(value: Uint8Array): Expression {
  return {name: 'cmp', data: {sreg: register, op: cmpOps.eq, value: {value}}};
}

function maskWith(mask: Uint8Array, xor: Uint8Array): Expression {
  return {
    name: 'bitwise',
    data: {sreg: register, dreg: register, length: mask.length, mask: {value: mask}, xor: {value: xor}},
  };
}

function hostOrder(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}
