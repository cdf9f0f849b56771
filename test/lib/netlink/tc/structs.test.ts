import {readFileSync} from 'node:fs';
import test from 'ava';
import {rateSpec, tcmsg} from '../../../../lib/netlink/tc/common.ts';
import {formatHandle, ingressParent, makeHandle, root} from '../../../../lib/netlink/tc/handle.ts';
import {readQdiscInfo} from '../../../../lib/netlink/tc/qdisc/kinds.ts';
import {longestUsec, ticksOf, usecOf} from '../../../../lib/netlink/tc/ticks.ts';

test('structs are as long as in linux/rtnetlink.h and linux/pkt_sched.h', (t) => {
  t.is(tcmsg.size, 20);
  t.deepEqual(tcmsg.offsets, {family: 0, pad1: 1, pad2: 2, ifindex: 4, handle: 8, parent: 12, info: 16});
  t.is(rateSpec.size, 12);
  t.is(rateSpec.offsets.rate, 8);
});

test('a tick is as long as this kernel says', (t) => {
  const [usec = 0, ticks = 0, resolution] = readFileSync('/proc/net/psched', 'utf8')
    .split(' ')
    .map((part) => Number.parseInt(part, 16));
  t.is(resolution, 1_000_000);
  t.is(ticksOf(64_000), (64_000 * usec) / ticks);
});

test('times that ticks cannot tell are cut', (t) => {
  t.is(longestUsec, 274_877_906);
  t.is(ticksOf(longestUsec), 4_294_967_281);
  t.is(ticksOf(longestUsec + 1), 0xffff_ffff);
  t.is(usecOf(ticksOf(1000)), 1000);
});

test('handles are written as tc writes them', (t) => {
  t.is(formatHandle(makeHandle(1)), '1:');
  t.is(formatHandle(makeHandle(0xffff)), 'ffff:');
  t.is(formatHandle(makeHandle(0x8001, 0x1f)), '8001:1f');
  t.is(formatHandle(root), 'root');
  t.is(formatHandle(ingressParent), 'ingress');
});

test('a qdisc without a table keeps its name and its options', (t) => {
  t.deepEqual(readQdiscInfo('fq_codel', Buffer.from([1, 2, 3]), [1, 3]), {
    kind: 'other',
    name: 'fq_codel',
    raw: Buffer.from([2, 3]),
  });
  t.deepEqual(readQdiscInfo('toString', Buffer.alloc(0), undefined), {
    kind: 'other',
    name: 'toString',
    raw: undefined,
  });
});
