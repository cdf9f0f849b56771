import test from 'ava';
import {
  findUnexpectedSkips,
  formatSlowest,
  parseReportLine,
} from '../../../integration/harness/ava-report.ts';

test('lines of ava are read with outcome and duration', (t) => {
  t.deepEqual(parseReportLine('  ✔ storm › 100 ADDs at once (12.2s)'), {
    title: 'storm › 100 ADDs at once',
    outcome: 'passed',
    durationMs: 12_200,
  });
  t.is(parseReportLine('  ✔ quick')?.durationMs, 0);
  t.is(parseReportLine('  ✔ slow (1m 7.2s)')?.durationMs, 67_200);
  t.is(parseReportLine('  ✔ a (b) (868ms)')?.title, 'a (b)');
  t.is(parseReportLine('  ✘ [fail]: broken')?.title, 'broken');
  t.is(parseReportLine('  ✘ x.test.ts exited with a non-zero exit code: 1')?.outcome, 'failed');
  t.is(parseReportLine('  - [skip] later [skipped: needs root]')?.outcome, 'skipped');
  t.is(parseReportLine('    ℹ $ ip link'), undefined);
});

test('a skip is expected only without root and for want of it', (t) => {
  const skipped = (title: string) => ({title, outcome: 'skipped', durationMs: 0}) as const;
  const tests = [
    skipped('a [skipped: needs root]'),
    skipped('b'),
    skipped('c [skipped: needs root, needs apt]'),
  ];
  t.deepEqual(findUnexpectedSkips(tests, {root: false}), ['b', 'c [skipped: needs root, needs apt]']);
  t.is(findUnexpectedSkips(tests, {root: true}).length, 3);
});

test('the ten slowest are named, slowest first', (t) => {
  const tests = Array.from({length: 12}, (_, index) => ({
    title: `test ${index}`,
    outcome: 'passed' as const,
    durationMs: index * 1000,
  }));
  const lines = formatSlowest(tests);
  t.is(lines.length, 10);
  t.is(lines[0], '    11.0 s  test 11');
});
