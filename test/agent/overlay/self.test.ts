import test from 'ava';
import {advertisementOf, formatAdvertisement, planSelf} from '../../../agent/overlay/self.ts';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {planDesired} from '../../../lib/overlay/desired.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import {deriveVtepMac} from '../../../lib/overlay/vtep-mac.ts';

const ip = (text: string) => parseIp(text)!;
const underlay = {
  ifindex: 2,
  name: 'eth0',
  mtu: 1500,
  up: true,
  addresses: [ip('192.168.50.11'), ip('fd00:50::11')],
};
const network = {
  name: 'pods',
  form: 'routed',
  vni: 9,
  port: 8472,
  ranges: [parseCidr('10.244.0.0/16')!],
  directRouting: false,
} as const;

function plan(self: Member | undefined, publicAddresses: readonly string[] = []) {
  return planSelf({
    node: 'a',
    snapshot: {network, self, peers: [], revision: '1'},
    underlay,
    publicAddresses: publicAddresses.map(ip),
    macs: self?.macs,
    endpoints: undefined,
    plan: (members) => planDesired(members, {carrier: underlay}),
  });
}

test('the hardware address follows from name and VNI; one that the source names stays', (t) => {
  const fresh = plan(undefined);
  t.is(fresh.macs[4], deriveVtepMac({vni: 9, node: 'a', family: 4}));
  t.deepEqual(fresh.subnets, []);
  t.is(fresh.mtu, 1450);
  const known = plan({...fresh, subnets: [parseCidr('10.244.1.0/24')!], macs: {4: '02:00:00:00:00:01'}});
  t.is(known.macs[4], '02:00:00:00:00:01');
  t.is(known.subnets.length, 1);
});

test('peers are told other addresses where the configuration has some', (t) => {
  const told = advertisementOf(plan(undefined, ['203.0.113.7']));
  t.deepEqual(told.underlay.map(formatIp), ['203.0.113.7']);
  t.false('subnets' in told);
  t.deepEqual(advertisementOf(plan(undefined)).underlay.map(formatIp), ['192.168.50.11', 'fd00:50::11']);
});

test('what says the same is the same text', (t) => {
  const one = advertisementOf(plan(undefined));
  t.is(formatAdvertisement(one), formatAdvertisement(advertisementOf(plan(undefined))));
  t.not(formatAdvertisement(one), formatAdvertisement({...one, mtu: 1400}));
  t.not(formatAdvertisement(one), formatAdvertisement({...one, endpoints: []}));
});
