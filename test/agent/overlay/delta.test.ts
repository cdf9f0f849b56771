import test from 'ava';
import {findDelta} from '../../../agent/overlay/delta.ts';
import {internMembers} from '../../../agent/overlay/intern.ts';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {planDesired} from '../../../lib/overlay/desired.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import {assumeActual, planOverlay} from '../../../lib/overlay/plan.ts';

const network = {
  name: 'pods',
  form: 'routed',
  vni: 1,
  port: 8472,
  ranges: [parseCidr('10.0.0.0/8')!],
  directRouting: false,
} as const;
const carrier = {ifindex: 2, mtu: 1500, addresses: [parseIp('192.168.50.11')!]};

const member = (index: number, more: Partial<Member> = {}): Member => ({
  id: `n${index}`,
  underlay: [parseIp(`172.16.0.${index}`)!],
  subnets: [parseCidr(`10.0.${index}.0/24`)!],
  macs: {4: `02:00:00:00:00:${index.toString(16).padStart(2, '0')}`},
  ...more,
});
const self = member(1, {underlay: carrier.addresses});
const desire = (peers: readonly Member[], mtu = 1500) =>
  planDesired({network, self, peers}, {carrier: {...carrier, mtu}});
const devices = new Map([['flannel.1', 7]]);

test('a delta is the peers that differ, as they were and as they shall be', (t) => {
  const before = desire([member(2), member(3), member(4)]);
  const after = desire([member(2), member(3, {macs: {4: '02:00:00:00:00:99'}}), member(5)]);
  const delta = findDelta(before, after)!;
  t.deepEqual(
    delta.before.map(({peer}) => peer),
    ['n3', 'n4'],
  );
  t.deepEqual(
    delta.after.map(({peer}) => peer),
    ['n3', 'n5'],
  );
  t.deepEqual(findDelta(before, desire([member(4), member(2), member(3)])), {before: [], after: []});
});

test('more than peers is no delta', (t) => {
  const before = desire([member(2)]);
  t.is(findDelta(before, desire([member(2)], 1400)), undefined);
  t.is(findDelta(before, {...before, network: {...network, ranges: [parseCidr('10.0.0.0/9')!]}}), undefined);
  t.is(findDelta(before, {...before, protocol: 120}), undefined);
});

test('what follows from a delta alone is what follows from comparing everything', (t) => {
  const states = [
    [member(2), member(3), member(4)],
    [member(2), member(3, {macs: {4: '02:00:00:00:00:99'}}), member(5)],
    [member(9, {subnets: [parseCidr('10.0.3.0/24')!]}), member(5, {underlay: [parseIp('172.16.0.77')!]})],
    [],
    [member(2, {mtu: 1400})],
  ];
  for (const [i, peers] of states.entries()) {
    const before = desire(states[i - 1] ?? []);
    const after = desire(peers);
    const delta = findDelta(before, after)!;
    const whole = planOverlay(after, assumeActual(before, {devices})).operations;
    const quick = planOverlay(
      {...after, peers: delta.after},
      assumeActual({...before, peers: delta.before}, {devices}),
    ).operations;
    t.deepEqual(quick, whole, String(i));
  }
});

test('members that say the same stay the same objects', (t) => {
  const snapshot = (peers: readonly Member[]) => ({network, self, peers, revision: '1'});
  const first = snapshot([member(2), member(3)]);
  const second = internMembers(snapshot([member(3), member(2, {mtu: 1400}), member(4)]), first);
  t.is(second.peers[0], first.peers[1]);
  t.not(second.peers[1], first.peers[0]);
  t.is(second.peers[1]?.mtu, 1400);
  t.is(second.peers[2]?.id, 'n4');
  const ends = (mac: string) => member(2, {endpoints: [{ips: [parseIp('10.0.2.9')!], mac}]});
  const third = internMembers(snapshot([ends('02:00:00:00:00:01')]), snapshot([ends('02:00:00:00:00:01')]));
  t.not(internMembers(snapshot([ends('02:00:00:00:00:02')]), third).peers[0], third.peers[0]);
});
