import test from 'ava';
import type {Snapshot} from '../../../agent/membership/membership.ts';
import {MassDeleteGuard} from '../../../agent/overlay/guard.ts';

let revision = 0;

function snapshot(count: number, from = 0): Snapshot {
  return {
    network: {name: 'pods', form: 'routed', vni: 1, port: 8472, ranges: [], directRouting: false},
    self: undefined,
    peers: Array.from({length: count}, (_, i) => ({id: `n${from + i}`, underlay: [], subnets: [], macs: {}})),
    revision: String(++revision),
  };
}

const say = (verdict: ReturnType<MassDeleteGuard['judge']>) =>
  verdict.kind === 'take'
    ? `take ${verdict.peers.length}`
    : `hold ${verdict.peers.length}, lost ${verdict.lost}, ${verdict.forMs} ms`;

test('a few peers, or a small share of many, may go at once', (t) => {
  const guard = new MassDeleteGuard({lingerMs: 0});
  for (const count of [0, 4, 1, 5, 2, 100, 71, 200])
    t.is(guard.judge(snapshot(count), 0).kind, 'take', String(count));
});

test('not one may go from a source that says nothing any more, or has lost its data', (t) => {
  const guard = new MassDeleteGuard({graceMs: 1000, lingerMs: 0});
  guard.judge(snapshot(2), 0);
  t.is(say(guard.judge(snapshot(0), 0)), 'hold 2, lost 2, 1000 ms');
  t.is(guard.judge(snapshot(2), 0).kind, 'take');
  t.is(say(guard.judge({...snapshot(1), revision: '1'}, 0)), 'hold 2, lost 1, 1000 ms');
  t.is(say(guard.judge({...snapshot(2), revision: '2'}, 0)), 'take 2');
  t.is(say(guard.judge({...snapshot(1), revision: '3'}, 0)), 'take 1');
});

test('many at once are held until the grace time is over', (t) => {
  const guard = new MassDeleteGuard({graceMs: 1000, lingerMs: 0});
  guard.judge(snapshot(100), 0);
  t.is(say(guard.judge(snapshot(0), 10)), 'hold 100, lost 100, 1000 ms');
  t.is(say(guard.judge(snapshot(20), 610)), 'hold 100, lost 80, 400 ms');
  // What comes is taken at once.
  t.is(say(guard.judge(snapshot(5, 200), 810)), 'hold 105, lost 100, 200 ms');
  t.is(say(guard.judge(snapshot(5, 200), 1010)), 'take 5');
  t.is(say(guard.judge(snapshot(5, 200), 1020)), 'take 5');
});

test('a source that has all of them back ends the holding', (t) => {
  const guard = new MassDeleteGuard({graceMs: 1000, lingerMs: 0});
  guard.judge(snapshot(10), 0);
  t.is(say(guard.judge(snapshot(2), 0)), 'hold 10, lost 8, 1000 ms');
  t.is(say(guard.judge(snapshot(9), 500)), 'take 9');
  t.is(say(guard.judge(snapshot(2), 5000)), 'hold 9, lost 7, 1000 ms');
});

test('what the source says twice is believed, and only that', (t) => {
  const guard = new MassDeleteGuard({lingerMs: 0});
  guard.judge(snapshot(10), 0);
  t.is(guard.judge(snapshot(0), 0).kind, 'hold');
  guard.confirm(snapshot(5));
  t.is(guard.judge(snapshot(0), 0).kind, 'hold');
  guard.confirm(snapshot(0));
  t.is(say(guard.judge(snapshot(0), 0)), 'take 0');
});

test('a host that came back under another name has the place of the old one', (t) => {
  const guard = new MassDeleteGuard({lingerMs: 0});
  const named = (prefix: string): Snapshot => {
    const made = snapshot(6);
    const peers = made.peers.map((peer, i) => ({
      ...peer,
      id: `${prefix}${i}`,
      macs: {4: `02:00:00:00:00:0${i}`},
    }));
    return {...made, peers};
  };
  guard.judge(named('old'), 0);
  const verdict = guard.judge(named('new'), 0);
  t.deepEqual(
    verdict.peers.map(({id}) => id),
    ['new0', 'new1', 'new2', 'new3', 'new4', 'new5'],
  );
});

test('one that went alone is kept for a moment, and comes back as if nothing had been', (t) => {
  const guard = new MassDeleteGuard({lingerMs: 100});
  guard.judge(snapshot(10), 0);
  const count = (verdict: ReturnType<MassDeleteGuard['judge']>) => [
    verdict.kind,
    verdict.peers.length,
    verdict.forMs,
  ];
  t.deepEqual(count(guard.judge(snapshot(9), 10)), ['take', 10, 100]);
  t.deepEqual(count(guard.judge(snapshot(8), 60)), ['take', 10, 50]);
  t.deepEqual(count(guard.judge(snapshot(8), 120)), ['take', 9, 40]);
  t.deepEqual(count(guard.judge(snapshot(9), 130)), ['take', 9, undefined]);
  t.deepEqual(count(guard.judge(snapshot(8), 1000)), ['take', 9, 100]);
  t.deepEqual(count(guard.judge(snapshot(8), 1100)), ['take', 8, undefined]);
});
