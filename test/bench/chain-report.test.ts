import test from 'ava';
import {addTimes, makeMeasured, summarize, verbs, type Kind} from '../../bench/chain-report.ts';

/** A chain of one plugin that takes so long, by the clock and by the processor. */
function measured(kind: Kind, size: number, {ms, cpuMs}: {readonly ms: number; readonly cpuMs: number}) {
  const one = makeMeasured(kind, size);
  for (const verb of verbs) {
    addTimes(one, verb, [{type: 'bridge', ms}]);
    one.cpuMs[verb] = cpuMs;
    for (const type of ['bridge', 'chain'])
      one.counts.set(`${verb} ${type}`, {processes: 0, sends: 1, syscalls: 0});
  }
  return one;
}

function isFlat(few: {ms: number; cpuMs: number}, many: {ms: number; cpuMs: number}): boolean {
  const go = {ms: 1, cpuMs: 1};
  return summarize([
    measured('weft', 1, few),
    measured('Go', 1, go),
    measured('weft', 300, many),
    measured('Go', 300, go),
  ]).isFlat;
}

test('a cost that grows by the clock or by the processor is one that grows', (t) => {
  const few = {ms: 10, cpuMs: 10};
  t.true(isFlat(few, {ms: 11.5, cpuMs: 11.5}));
  t.false(isFlat(few, {ms: 13, cpuMs: 10}));
  t.false(isFlat(few, {ms: 10, cpuMs: 13}));
  t.false(isFlat(few, {ms: 13, cpuMs: 13}));
});
