import {formatCidr, type Cidr} from '../../ip/cidr.ts';
import {familyOf} from '../../ip/address.ts';
import {attrs, message} from '../attrs.ts';
import {ip, string, u32, u8} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {isNotFound} from '../error.ts';
import {Flag} from '../message.ts';
import {struct} from '../struct.ts';
import {afInet, afInet6, rtm, type RouteSocket} from './socket.ts';

/** struct fib_rule_hdr of linux/fib_rules.h. */
export const fibRuleHeader = struct({
  family: u8,
  dstPrefix: u8,
  srcPrefix: u8,
  tos: u8,
  table: u8,
  reserved1: u8,
  reserved2: u8,
  action: u8,
  flags: u32,
});

/** linux/fib_rules.h, enum FRA_*. */
export const ruleAttributes = attrs({
  dst: [1, ip],
  src: [2, ip],
  iif: [3, string],
  priority: [6, u32],
  mark: [10, u32],
  table: [15, u32],
  markMask: [16, u32],
  oif: [17, string],
  l3mdev: [19, u8],
  protocol: [21, u8],
});
export const ruleMessage = message(fibRuleHeader, ruleAttributes);

// FR_ACT_TO_TBL
const actionLookup = 1;

/** A rule that sends packets to a routing table. */
export interface Rule {
  readonly family: 4 | 6;
  readonly table: number;
  /** Lower is asked first; the kernel chooses one below the lowest unless given. */
  readonly priority?: number | undefined;
  readonly src?: Cidr | undefined;
  readonly dst?: Cidr | undefined;
  /** Interface names. */
  readonly iif?: string | undefined;
  readonly oif?: string | undefined;
  readonly mark?: number | undefined;
  readonly markMask?: number | undefined;
}

/** EEXIST if the same is there. */
export function addRule(rt: RouteSocket, rule: Rule): Promise<void> {
  return rt.request({
    type: rtm.newRule,
    flags: Flag.create | Flag.exclusive,
    body: (w) => putRule(w, rule),
    what: `add rule ${label(rule)}`,
  });
}

/** Removes the first rule that has everything given; tells whether there was one. */
export async function removeRule(rt: RouteSocket, rule: Rule): Promise<boolean> {
  try {
    await rt.request({type: rtm.delRule, body: (w) => putRule(w, rule), what: `remove rule ${label(rule)}`});
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** The rules of a family that lead to a table. */
export function listRules(rt: RouteSocket, {family}: {readonly family: 4 | 6}): Promise<Rule[]> {
  return rt.dump(
    {
      type: rtm.getRule,
      body: (w) => ruleMessage.put(w, {header: {family: family === 4 ? afInet : afInet6}}),
      what: 'list rules',
    },
    ({buffer, start, end}) => {
      const {header, attributes: a} = ruleMessage.get(buffer, start, end);
      if (header.action !== actionLookup) return undefined;
      return {
        family,
        table: a.table ?? header.table,
        priority: a.priority ?? 0,
        src: a.src && {ip: a.src, prefix: header.srcPrefix},
        dst: a.dst && {ip: a.dst, prefix: header.dstPrefix},
        iif: a.iif,
        oif: a.oif,
        mark: a.mark,
        markMask: a.markMask,
      };
    },
  );
}

function label({src, dst, iif, table}: Rule): string {
  const parts = [src && `from ${formatCidr(src)}`, dst && `to ${formatCidr(dst)}`, iif && `iif ${iif}`];
  return [...parts.filter(Boolean), `lookup ${table}`].join(' ');
}

function putRule(w: Writer, rule: Rule): void {
  const {family, table, priority, src, dst, iif, oif, mark, markMask} = rule;
  for (const cidr of [src, dst]) {
    if (cidr && familyOf(cidr.ip) !== family) throw new Error(`${formatCidr(cidr)} is not of IPv${family}`);
  }
  ruleMessage.put(w, {
    header: {
      family: family === 4 ? afInet : afInet6,
      srcPrefix: src?.prefix ?? 0,
      dstPrefix: dst?.prefix ?? 0,
      table: table > 255 ? 0 : table,
      action: actionLookup,
    },
    attributes: {
      src: src?.ip,
      dst: dst?.ip,
      iif,
      oif,
      priority,
      mark,
      markMask,
      table: table > 255 ? table : undefined,
    },
  });
}
