import {parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {applyOperations} from '../lib/overlay/apply.ts';
import {OverlayPlanner} from '../lib/overlay/desired.ts';
import {ensureDevice} from '../lib/overlay/ensure-device.ts';
import type {Member} from '../lib/overlay/member.ts';
import {observeOverlay} from '../lib/overlay/observe.ts';
import {planOverlay} from '../lib/overlay/plan.ts';
import {deriveVtepMac} from '../lib/overlay/vtep-mac.ts';
import {makeLocal, makeMember, makeNetwork, makePair} from './harness/overlay-pair.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');
const count = 5000;

/** Host `n` of thousands, in its `age`th life. */
function makePeer(n: number, age = 0): Member {
  const node = `peer-${n}-${age}`;
  const third = n >> 8;
  const fourth = n & 255;
  return {
    id: node,
    underlay: [parseIp(`172.${16 + age}.${third}.${fourth}`)!],
    subnets: [parseCidr(`10.${third}.${fourth}.0/24`)!],
    macs: {4: deriveVtepMac({vni: 1, node, family: 4})},
    seniority: n,
  };
}

// Peers of an overlay are entries of the kernel's: what they cost is counted here, and measured by bench/overlay.ts.
test('thousands of peers: a start, a change, a restart', async (t) => {
  const [host] = await makePair(t);
  const network = makeNetwork({ranges: [parseCidr('10.0.0.0/8')!]});
  const self = {...makeMember(1), subnets: [parseCidr('10.255.1.0/24')!]};
  const planner = new OverlayPlanner();
  const rounds: Record<string, number> = {};
  const round = async (title: string, peers: readonly Member[]) => {
    const began = performance.now();
    const desired = planner.plan({network, self, peers}, makeLocal(host));
    for (const spec of desired.devices) await ensureDevice(host, spec);
    const {operations} = planOverlay(desired, await observeOverlay(host.rt, desired));
    const {failed, done} = await applyOperations(host.rt, operations);
    t.deepEqual(failed, []);
    t.deepEqual(desired.conflicts, []);
    rounds[title] = done;
    t.log(`${title}: ${done} operations, ${(performance.now() - began).toFixed(0)} ms`);
  };
  const peers = Array.from({length: count}, (_, i) => makePeer(i + 1));
  await round('cold start', peers);
  await round('restart', peers);
  const changed = peers.with(7, {...peers[7]!, macs: {4: '02:00:00:00:00:99'}});
  await round('one changes its hardware address', changed);
  const half = changed.map((peer, i) => (i % 2 === 0 ? makePeer(i + 1, 1) : peer));
  await round('half replaced', half);
  await round('restart again', half);
  await round('all gone', []);
  t.deepEqual(rounds, {
    'cold start': 3 * count,
    restart: 0,
    'one changes its hardware address': 3,
    // A new host in the same subnet: its end, the neighbour, and the old end goes. The route stays.
    'half replaced': (3 * count) / 2,
    'restart again': 0,
    'all gone': 3 * count,
  });
});
