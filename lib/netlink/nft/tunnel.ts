import {bitsOf} from '../../ip/address.ts';
import type {Family} from '../../ip/address.ts';
import {cmpOps} from './expr/cmp.ts';
import {natRangeFlags} from './expr/masq.ts';
import {metaKeys} from './expr/meta.ts';
import {payloadBases} from './expr/payload.ts';
import {rtKeys} from './expr/rt.ts';
import {register} from './expression.ts';
import type {Expression} from './expression.ts';
import {comparePorts} from './match.ts';
import {families} from './operation.ts';
import type {Statement} from './rule.ts';
import type {SetRef} from './set.ts';

// Statements about tunnels, and about what leaves beside them; for tables of family inet.

const words = {4: 'ip', 6: 'ip6'} as const;
const sourceOffsets = {4: 12, 6: 8} as const;

/** `udp dport 8472 @th,96,24 0x2a`: a VXLAN packet of this VNI. */
export function matchVxlan({port, vni}: {readonly port: number; readonly vni: number}): Statement {
  const toPort = comparePorts('udp', {field: 'dport', first: port}, '==');
  return {
    text: `${toPort.text} @th,96,24 0x${vni.toString(16)}`,
    expressions: [
      ...toPort.expressions,
      // Behind UDP's 8 bytes: flags of 4 bytes, then the VNI (RFC 7348, section 5).
      {name: 'payload', data: {dreg: register, base: payloadBases.transport, offset: 12, length: 3}},
      equals(Uint8Array.of(vni >> 16, (vni >> 8) & 255, vni & 255)),
    ],
  };
}

/** `ip saddr @name`: the source is in a set of addresses. */
export function matchSourceSet(family: Family, set: SetRef & {readonly id?: number}): Statement {
  const length = bitsOf(family) / 8;
  return {
    text: `${words[family]} saddr @${set.set}`,
    expressions: [
      {name: 'meta', data: {key: metaKeys.nfproto, dreg: register}},
      equals(Uint8Array.of(families[words[family]])),
      {
        name: 'payload',
        data: {dreg: register, base: payloadBases.network, offset: sourceOffsets[family], length},
      },
      {name: 'lookup', data: {set: set.set, setId: set.id, sreg: register}},
    ],
  };
}

/** `notrack`: no connection is kept for the packet; only in hooks before tracking. */
export function notrack(): Statement {
  return {text: 'notrack', expressions: [{name: 'notrack', data: {}}]};
}

/** `meta ipsec missing`: the packet did not come out of a transformation. */
export function matchArrivedClear(): Statement {
  return {
    text: 'meta ipsec missing',
    expressions: [{name: 'meta', data: {key: metaKeys.secpath, dreg: register}}, equals(Uint8Array.of(0))],
  };
}

/** `rt ipsec missing`: the packet's route leads through no transformation. */
export function matchLeavesClear(): Statement {
  return {
    text: 'rt ipsec missing',
    expressions: [{name: 'rt', data: {key: rtKeys.xfrm, dreg: register}}, equals(Uint8Array.of(0))],
  };
}

/** `oifname "flannel.1"`: a star at the end stands for any rest. */
export function matchOutputInterface(name: string): Statement {
  const isPrefix = name.endsWith('*');
  const padded = Buffer.alloc(16);
  padded.write(name);
  return {
    text: `oifname "${name}"`,
    expressions: [
      {name: 'meta', data: {key: metaKeys.oifname, dreg: register}},
      equals(isPrefix ? Buffer.from(name.slice(0, -1)) : padded),
    ],
  };
}

/** `masquerade to :8473-65535 fully-random`; both parts are optional. Ports need a protocol that was matched before. */
export function masqueradeAs({
  ports,
  fullyRandom = false,
}: {
  readonly ports?: {readonly first: number; readonly last: number} | undefined;
  readonly fullyRandom?: boolean | undefined;
}): Statement {
  const flags = (ports ? natRangeFlags.ports : 0) | (fullyRandom ? natRangeFlags.fullyRandom : 0);
  const registers = ports ? {portMin: register, portMax: register + 1} : {};
  return {
    text: ['masquerade', ports && `to :${ports.first}-${ports.last}`, fullyRandom && 'fully-random']
      .filter(Boolean)
      .join(' '),
    expressions: [
      ...(ports ? [load(ports.first, register), load(ports.last, register + 1)] : []),
      {name: 'masq', data: {...(flags !== 0 && {flags}), ...registers}},
    ],
  };
}

function load(port: number, dreg: number): Expression {
  return {name: 'immediate', data: {dreg, data: {value: Uint8Array.of(port >> 8, port & 255)}}};
}

function equals(value: Uint8Array): Expression {
  return {name: 'cmp', data: {sreg: register, op: cmpOps.eq, value: {value}}};
}
