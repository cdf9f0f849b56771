import {cmpOps} from '../../lib/netlink/nft/expr/cmp.ts';
import {ctKeys, ctStates} from '../../lib/netlink/nft/expr/ct.ts';
import {metaKeys} from '../../lib/netlink/nft/expr/meta.ts';
import {register, verdictRegister} from '../../lib/netlink/nft/expression.ts';
import type {Expression} from '../../lib/netlink/nft/expression.ts';
import type {Statement} from '../../lib/netlink/nft/rule.ts';
import type {SetRef} from '../../lib/netlink/nft/set.ts';

// Statements that only filtering of forwarded packets needs.

// A name fills one register of 16 bytes.
const secondRegister = 2;

/** `iifname @names` or `oifname @names`. */
export function matchInterfaceSet(key: 'iifname' | 'oifname', {set}: SetRef): Statement {
  return {
    text: `${key} @${set}`,
    expressions: [loadName(key, register), {name: 'lookup', data: {set, sreg: register}}],
  };
}

/** `iifname . oifname vmap @pairs`: the verdict that the map has for both names together. */
export function verdictOfInterfaces({set}: SetRef): Statement {
  return {
    text: `iifname . oifname vmap @${set}`,
    expressions: [
      loadName('iifname', register),
      loadName('oifname', secondRegister),
      {name: 'lookup', data: {set, sreg: register, dreg: verdictRegister}},
    ],
  };
}

/** `ct state established,related`: the packet belongs to a connection that was let through before. */
export function matchReturnTraffic(): Statement {
  const bits = hostOrder(ctStates.established | ctStates.related);
  return {
    text: 'ct state established,related',
    expressions: [
      {name: 'ct', data: {key: ctKeys.state, dreg: register}},
      {
        name: 'bitwise',
        data: {sreg: register, dreg: register, length: 4, mask: {value: bits}, xor: {value: hostOrder(0)}},
      },
      {name: 'cmp', data: {sreg: register, op: cmpOps.neq, value: {value: hostOrder(0)}}},
    ],
  };
}

/** The key of a set of interface names. */
export function nameKey(name: string): Uint8Array {
  const key = Buffer.alloc(16);
  key.write(name);
  return key;
}

/** The key of a map of pairs of interface names. */
export function pairKey(from: string, to: string): Uint8Array {
  return Buffer.concat([nameKey(from), nameKey(to)]);
}

function loadName(key: 'iifname' | 'oifname', dreg: number): Expression {
  return {name: 'meta', data: {key: metaKeys[key], dreg}};
}

function hostOrder(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
