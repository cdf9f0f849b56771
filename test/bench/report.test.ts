import test from 'ava';
import {formatReport} from '../../bench/report.ts';
import {Results, type Subject} from '../../bench/results.ts';
import type {Kind} from '../../bench/site.ts';
import {judge, targets} from '../../bench/targets.ts';

function add(
  results: Results,
  subject: Partial<Subject> & {readonly kind: Kind},
  ms: number,
  cpuMs = ms,
): void {
  results.add({case: 'masq', verb: 'ADD', present: 0, ...subject}, {ms, cpuMs});
}

function verdictOf(results: Results, name: string, kind: string) {
  return judge(results.found()).find((each) => each.name === name && each.kind === kind);
}

test('a target is a ratio of medians, and met up to its limit', (t) => {
  const results = new Results();
  for (const ms of [1, 100, 20]) add(results, {kind: 'peer'}, ms);
  for (const ms of [2, 3, 500]) add(results, {kind: 'warm'}, ms);
  for (const ms of [28.2, 28.2, 1]) add(results, {kind: 'standalone'}, ms);
  t.like(verdictOf(results, 'ADD with ipMasq', 'warm'), {value: 0.15, isMet: true});
  t.like(verdictOf(results, 'ADD with ipMasq', 'standalone'), {limit: 1.4, isMet: false});
});

test('processor time is a target of its own', (t) => {
  const results = new Results();
  add(results, {kind: 'peer'}, 20, 10);
  add(results, {kind: 'warm'}, 1, 5);
  t.like(verdictOf(results, 'processor time of an ADD with ipMasq', 'warm'), {value: 0.5, isMet: false});
  t.like(verdictOf(results, 'ADD with ipMasq', 'warm'), {value: 0.05, isMet: true});
});

test('growth counts by the clock and by the processor: neither hides the other', (t) => {
  const growthOf = (few: [number, number], many: [number, number]) => {
    const results = new Results();
    add(results, {case: 'full 2000', kind: 'warm', present: 10}, ...few);
    add(results, {case: 'full 2000', kind: 'warm', present: 2000}, ...many);
    return verdictOf(results, 'own growth, ADD at 2,000 against 10', 'warm');
  };
  t.like(growthOf([10, 10], [11, 12]), {value: 1.2, isMet: true});
  t.like(growthOf([10, 10], [10, 20]), {value: 2, isMet: false});
  t.like(growthOf([10, 10], [20, 10]), {value: 2, isMet: false});
});

test('what was not measured is neither met nor failed', (t) => {
  const results = new Results();
  add(results, {kind: 'warm'}, 1);
  t.deepEqual([...new Set(judge(results.found()).map(({isMet}) => isMet))], [undefined]);
  t.is(
    judge(results.found()).length,
    targets.flatMap(({warm, standalone}) => [warm, standalone]).filter((limit) => limit !== undefined).length,
  );
});

test('memory is that of the worst call, without the agent', (t) => {
  const results = new Results();
  for (const bytes of [14e6, 16e6]) results.memory.push({what: 'ADD', kind: 'standalone', bytes});
  results.memory.push({what: 'agent, idle', kind: 'warm', bytes: 40e6});
  t.like(verdictOf(results, 'private memory of a call, MB', 'standalone'), {value: 16, isMet: false});
  results.fits.standalone = true;
  t.like(verdictOf(results, '30 calls at once do not fit 512 MB', 'standalone'), {isMet: true});
});

test('the report shows every number, what could not be asked, and the verdicts', (t) => {
  const results = new Results();
  add(results, {kind: 'peer'}, 20, 10);
  add(results, {kind: 'standalone'}, 30, 35);
  add(results, {kind: 'warm', case: 'full 400', present: 400}, 1.25);
  results.fail({case: 'masq', verb: 'CHECK', kind: 'peer', present: 0}, 'it lacks CHECK');
  results.memory.push({what: 'ADD', kind: 'standalone', bytes: 14.2e6});
  results.fits.standalone = false;
  const found = results.found();
  const text = formatReport(found, judge(found));
  t.regex(text, /^masq: ADD +30\.0 +30\.0 +35\.0 +20\.0 +20\.0 +10\.0 +1\.50 *$/m);
  t.regex(text, /^full 400: ADD, 400 there +1\.3 +1\.3 +1\.3/m);
  t.regex(text, /^masq: CHECK, Go: it lacks CHECK$/m);
  t.regex(text, /^ADD, standalone +14\.2$/m);
  t.regex(text, /do NOT fit 512 MB: standalone/);
  t.regex(text, /^ADD with ipMasq +standalone +1\.50 +<= 1\.4 +NOT met$/m);
  t.regex(text, /^VERSION +warm +<= 0\.6 +not measured$/m);
  t.true(results.hasFailed({case: 'masq', verb: 'CHECK', kind: 'peer', present: 0}));
});
