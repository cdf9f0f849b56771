import test from 'ava';
import {parseIp} from '../../../../lib/ip/address.ts';
import type {RouteSocket} from '../../../../lib/netlink/route/socket.ts';
import {addHtbClass, listHtbClasses} from '../../../../lib/netlink/tc/class.ts';
import {addFilter, listFilters, protocols, readFilter} from '../../../../lib/netlink/tc/filter.ts';
import {ingressParent, makeHandle, root} from '../../../../lib/netlink/tc/handle.ts';
import {addQdisc, listQdiscs, readQdisc, removeQdisc} from '../../../../lib/netlink/tc/qdisc.ts';
import {ticksOf} from '../../../../lib/netlink/tc/ticks.ts';
import {planFilters, planSubnetFilters} from '../../../../plugins/bandwidth/subnets.ts';
import {readCaptures, type CapturedMessage} from '../../../helpers/captures.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

const captures = readCaptures('tc-captures.txt');
const headerBytes = 20;
const replyOf = ({body}: CapturedMessage) => ({buffer: body, start: 0, end: body.length});

const tbfCommand = 'tc qdisc add dev veth0 root handle 1: tbf rate 8mbit burst 100000b limit 125000';
const {ifindex} = readQdisc(replyOf(captures.sentBy(tbfCommand)));
const redirectCommand =
  'tc filter add dev veth0 parent ffff: prio 1 protocol all u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev bwp0';
const on = {ifindex, link: 'veth0'};
const one = makeHandle(1);
const classId = makeHandle(1, 1);
const ffff = makeHandle(0xffff);
// tc says how it computed its tables, and of what link: nothing that kernels since 3.8 ask for.
const rate = {cellLog: 3, linkLayer: 1, overhead: 0, cellAlign: 0xffff, mpu: 0, rate: 1_000_000};
const none = {cellLog: 0, linkLayer: 0, overhead: 0, cellAlign: 0, mpu: 0, rate: 0};
const buffer = ticksOf(100_000);

function subnet(text: string, prefix: number) {
  return {kind: 'only', subnets: [{ip: parseIp(text)!, prefix}]} as const;
}
const [ipv4] = planSubnetFilters(subnet('10.0.0.0', 9), 'source');
const [ipv6] = planSubnetFilters(subnet('2001:db8::', 33), 'destination');
const [everything] = planFilters({kind: 'all'}, 'destination');

const target = (() => {
  const {info} = readFilter(replyOf(captures.sentBy(redirectCommand)));
  const [action] = (info.kind === 'u32' && info.options.actions) || [];
  return action?.kind === 'mirred' ? action.options.parms!.ifindex : 0;
})();

/** The function that makes the same request as the command. */
const calls: Readonly<Record<string, (rt: RouteSocket) => Promise<unknown>>> = {
  [tbfCommand]: (rt) =>
    addQdisc(rt, {
      ...on,
      parent: root,
      handle: one,
      info: {
        kind: 'tbf',
        options: {parms: {rate, peakRate: none, limit: 125_000, buffer, mtu: 0}, burst: 100_000},
      },
    }),
  'tc qdisc del dev veth0 root handle 1:': (rt) => removeQdisc(rt, {ifindex, parent: root, handle: one}),
  'tc qdisc add dev veth0 root handle 1: htb default 1': (rt) =>
    addQdisc(rt, {
      ...on,
      parent: root,
      handle: one,
      info: {
        kind: 'htb',
        options: {init: {version: 3, rateToQuantum: 10, defaultClass: 1, debug: 0, directPackets: 0}},
      },
    }),
  'tc class add dev veth0 parent 1: classid 1:1 htb rate 8mbit ceil 8mbit burst 100000b cburst 100000b quantum 1514':
    (rt) => {
      const parms = {rate, ceil: rate, buffer, ceilBuffer: buffer, quantum: 1514, level: 0, priority: 0};
      return addHtbClass(rt, {...on, parent: one, handle: classId, options: {parms}});
    },
  'tc qdisc add dev veth0 parent 1:1 handle 2: bfifo limit 131072': (rt) =>
    addQdisc(rt, {
      ...on,
      parent: classId,
      handle: makeHandle(2),
      info: {kind: 'bfifo', options: {limit: 131_072}},
    }),
  'tc filter add dev veth0 parent 1: prio 1 protocol ip u32 match ip src 10.0.0.0/9 flowid 1:1': (rt) =>
    addFilter(rt, {
      ...on,
      parent: one,
      ...ipv4!,
      info: {kind: 'u32', options: {classId, match: ipv4!.match}},
    }),
  'tc qdisc add dev veth0 handle ffff: ingress': (rt) =>
    addQdisc(rt, {...on, parent: ingressParent, handle: ffff, info: {kind: 'ingress'}}),
  [redirectCommand]: (rt) => {
    const parms = {index: 0, capab: 0, action: 4, refcnt: 0, bindcnt: 0, direction: 1, ifindex: target};
    const actions = [{kind: 'mirred', options: {parms}}] as const;
    const options = {classId, actions, match: everything!.match};
    return addFilter(rt, {...on, parent: ffff, ...everything!, info: {kind: 'u32', options}});
  },
  'tc filter add dev veth0 parent ffff: prio 2 protocol ipv6 u32 match ip6 dst 2001:db8::/33 flowid 1:1': (
    rt,
  ) =>
    addFilter(rt, {
      ...on,
      parent: ffff,
      ...ipv6!,
      info: {kind: 'u32', options: {classId, match: ipv6!.match}},
    }),
};

test('each command that was captured has its function here', (t) => {
  t.deepEqual(Object.keys(calls).sort(), [...captures.commands].sort());
});

/** The attributes as "depth:number=bytes" without NLA_F_NESTED; `nested`: numbers of nests, from outside in. Tables of old kernels are left out. */
function attributesOf(body: Buffer, start: number, nested: readonly number[]): string[] {
  const out: string[] = [];
  for (let at = start; body.length - at >= 4; at += (body.readUInt16LE(at) + 3) & ~3) {
    const [length, type] = [body.readUInt16LE(at), body.readUInt16LE(at + 2) & 0x3fff];
    const value = body.subarray(at + 4, at + length);
    if (type === nested[0]) out.push(...attributesOf(value, 0, nested.slice(1)));
    else if (length < 1028) out.push(`${nested.length}:${type}=${value.toString('hex')}`);
  }
  return out.sort();
}

for (const [command, call] of Object.entries(calls))
  test(`the bytes of "${command}"`, async (t) => {
    const rt = recordingNetlink();
    await call(rt);
    const [sent, captured] = [rt.sent[0]!, captures.sentBy(command)];
    t.is(sent.type, captured.type);
    t.is(sent.flags, captured.flags);
    const [ours, theirs] = [sent.body, captured.body];
    t.deepEqual(ours.subarray(0, headerBytes), theirs.subarray(0, headerBytes));
    // The order of attributes differs, and is of no meaning.
    const nested = /bfifo|ingress$/.test(command) ? [] : [2, 7, 1, 2];
    t.deepEqual(attributesOf(ours, headerBytes, nested), attributesOf(theirs, headerBytes, nested));
  });

test("what the kernel tells of a tbf is read, and not another link's", async (t) => {
  const rt = recordingNetlink();
  rt.answers = captures.answersTo('tc qdisc show dev veth0 root').filter(({type}) => type === 36);
  const [qdisc] = await listQdiscs(rt, {ifindex});
  t.like(qdisc, {
    ifindex,
    parent: root,
    handle: one,
    info: {kind: 'tbf', options: {parms: {limit: 125_000, buffer, rate: {rate: 1_000_000}}}},
  });
  t.deepEqual(await listQdiscs(rt, {ifindex: ifindex + 1}), []);
});

test('what the kernel tells of an htb class is read', async (t) => {
  const rt = recordingNetlink();
  rt.answers = captures.answersTo('tc class show dev veth0').filter(({type}) => type === 40);
  const classes = await listHtbClasses(rt, {ifindex});
  t.is(classes.length, 1);
  t.like(classes[0], {handle: classId, options: {parms: {buffer, quantum: 1514, rate: {rate: 1_000_000}}}});
});

test("of what the kernel lists, only the filters are: not a priority's own entry, not the hash tables of u32", async (t) => {
  const rt = recordingNetlink();
  rt.answers = captures.answersTo('tc filter show dev veth0 parent ffff:').filter(({type}) => type === 44);
  const filters = await listFilters(rt, {ifindex, parent: ffff});
  t.is(filters.length, 2);
  t.like(filters[0], {priority: 1, protocol: protocols.all, info: {kind: 'u32', options: {classId}}});
  t.like(filters[1], {priority: 2, protocol: protocols.ipv6, info: {options: {match: ipv6!.match}}});
  const [action] = (filters[0]!.info.kind === 'u32' && filters[0]!.info.options.actions) || [];
  t.like(action, {kind: 'mirred', options: {parms: {ifindex: target, direction: 1, action: 4}}});
});
