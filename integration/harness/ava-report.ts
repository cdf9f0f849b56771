/** One test as ava's default reporter printed it. */
export interface ReportedTest {
  readonly title: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** 0 where ava did not think it worth printing. */
  readonly durationMs: number;
}

/** Reads one line of ava's default reporter; undefined for a line that reports no test. */
export function parseReportLine(line: string): ReportedTest | undefined {
  const passed = /^\s+✔ (.*?)(?: \(((?:\d+m )?[\d.]+m?s)\))?$/.exec(line);
  if (passed !== null)
    return {title: passed[1] ?? '', outcome: 'passed', durationMs: parseDuration(passed[2] ?? '')};
  const failed = /^\s+✘ (?:\[fail\]: )?(.*)$/.exec(line);
  if (failed !== null) return {title: failed[1] ?? '', outcome: 'failed', durationMs: 0};
  const skipped = /^\s+- (?:\[skip\] )?(.*)$/.exec(line);
  if (skipped !== null) return {title: skipped[1] ?? '', outcome: 'skipped', durationMs: 0};
  return undefined;
}

function parseDuration(text: string): number {
  const [, minutes = '0', amount = '0', unit = 'ms'] = /^(?:(\d+)m )?([\d.]+)(m?s)$/.exec(text) ?? [];
  return Number(minutes) * 60_000 + Number(amount) * (unit === 's' ? 1000 : 1);
}

/** The ten slowest, slowest first, one line each. */
export function formatSlowest(tests: readonly ReportedTest[]): string[] {
  return tests
    .filter(({durationMs}) => durationMs > 0)
    .toSorted((a, b) => b.durationMs - a.durationMs)
    .slice(0, 10)
    .map(({title, durationMs}) => `  ${(durationMs / 1000).toFixed(1).padStart(6)} s  ${title}`);
}

/**
 * Skipped tests that nobody expects to be: all but those without a reason other than that the run is
 * not root's.
 */
export function findUnexpectedSkips(tests: readonly ReportedTest[], {root}: {root: boolean}): string[] {
  return tests
    .filter(({outcome, title}) => outcome === 'skipped' && (root || !title.endsWith('[skipped: needs root]')))
    .map(({title}) => title);
}
