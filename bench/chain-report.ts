import type {Share} from './chain-worker.ts';

/** What is asked of each plugin in a round; VERSION tells what of the others is its start. */
export const verbs = ['ADD', 'DEL', 'VERSION'] as const;
export const kinds = ['weft', 'Go'] as const;
export type Verb = (typeof verbs)[number];
export type Kind = (typeof kinds)[number];

/** What the project promises: our cost per call on the fullest node against that on the emptiest. */
const promise = 1.2;

/** All that was measured of one kind of plugins with so many containers; by plugin, and of the chain as a whole. */
export interface Measured {
  readonly kind: Kind;
  readonly size: number;
  /** Milliseconds of each round. */
  readonly times: Readonly<Record<Verb, Map<string, number[]>>>;
  /** Processor time of all rounds. */
  readonly cpuMs: Record<Verb, number>;
  readonly counts: Map<string, Counts>;
}

type Counts = Required<Omit<Share, 'type' | 'ms'>>;

/** The name under which a chain's sums are kept, beside those of its plugins. */
const whole = 'chain';

export function makeMeasured(kind: Kind, size: number): Measured {
  return {
    kind,
    size,
    times: {ADD: new Map(), DEL: new Map(), VERSION: new Map()},
    cpuMs: {ADD: 0, DEL: 0, VERSION: 0},
    counts: new Map(),
  };
}

export function addTimes({times}: Measured, verb: Verb, shares: readonly Share[]): void {
  const add = (type: string, ms: number) => {
    const known = times[verb].get(type);
    if (known) known.push(ms);
    else times[verb].set(type, [ms]);
  };
  for (const {type, ms} of shares) add(type, ms);
  add(
    whole,
    shares.reduce((sum, {ms}) => sum + ms, 0),
  );
}

export function addCounts({counts}: Measured, verb: Verb, shares: readonly Share[]): void {
  for (const {type, processes = 0, sends = 0, syscalls = 0} of shares)
    for (const key of [`${verb} ${type}`, `${verb} ${whole}`]) {
      const before = counts.get(key) ?? {processes: 0, sends: 0, syscalls: 0};
      counts.set(key, {
        processes: before.processes + processes,
        sends: before.sends + sends,
        syscalls: before.syscalls + syscalls,
      });
    }
}

interface Row extends Counts {
  readonly kind: Kind;
  readonly size: number;
  readonly verb: Verb;
  readonly type: string;
  readonly median: number;
  readonly p95: number;
  /** Per call; of whole chains only. */
  readonly cpuMs?: number;
}

/** The measurement in numbers, and whether what is promised is kept. */
export function summarize(measured: readonly Measured[]) {
  const rows = measured.flatMap(({kind, size, times, cpuMs, counts}) =>
    verbs.flatMap((verb) =>
      [...times[verb]].map(([type, values]): Row => {
        const sorted = values.toSorted((a, b) => a - b);
        const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
        return {
          kind,
          size,
          verb,
          type,
          median: at(0.5),
          p95: at(0.95),
          ...(type === whole && {cpuMs: cpuMs[verb] / values.length}),
          ...counts.get(`${verb} ${type}`)!,
        };
      }),
    ),
  );
  const ofChains = rows.filter(({type}) => type === whole);
  const growth = (['ADD', 'DEL'] as const).flatMap((verb) =>
    kinds.map((kind) => {
      const own = ofChains.filter((row) => row.kind === kind && row.verb === verb);
      const [first, last] = [own[0]!, own.at(-1)!];
      return {
        verb,
        kind,
        median: last.median / first.median,
        cpu: last.cpuMs! / first.cpuMs!,
        requests: last.sends - first.sends,
      };
    }),
  );
  const ours = growth.filter(({kind}) => kind === 'weft');
  const started = ofChains.reduce((sum, {kind, processes}) => sum + (kind === 'weft' ? processes : 0), 0);
  const isFlat = ours.every(({median, cpu, requests}) => Math.max(median, cpu) <= promise && requests === 0);
  return {rows, growth, isFlat, started, isKept: isFlat && started === 0};
}

/** The summary as a table for people. */
export function formatSummary(
  {rows, growth, isFlat, started}: ReturnType<typeof summarize>,
  {withSyscalls}: {readonly withSyscalls: boolean},
): string {
  const lines: string[] = [];
  const sizes = [...new Set(rows.map(({size}) => size))];
  const columns = [
    'median',
    'p95',
    'processor',
    'programs',
    'netlink',
    ...(withSyscalls ? ['syscalls'] : []),
  ];
  for (const size of sizes)
    for (const verb of verbs) {
      const titles = kinds.map((kind) => pad(kind, 5) + columns.map((column) => pad(column)).join(''));
      lines.push(`${verb}, ${size} there`.padEnd(18) + titles.join('') + pad('Go to weft', 13));
      const own = rows.filter((row) => row.size === size && row.verb === verb);
      for (const type of new Set([whole, ...own.map((row) => row.type)])) {
        const pair = kinds.map((kind) => own.find((row) => row.kind === kind && row.type === type)!);
        const cells = pair.map((row) => pad('', 5) + formatCells(row, withSyscalls));
        const ratio = (pair[1]!.median / pair[0]!.median).toFixed(2);
        lines.push(`  ${type === whole ? 'whole chain' : type}`.padEnd(18) + cells.join('') + pad(ratio, 13));
      }
      lines.push('');
    }
  const [least, most] = [sizes[0], sizes.at(-1)];
  for (const {kind, verb, median, cpu} of growth)
    lines.push(
      `${kind}: ${verb} with ${most} containers costs ${median.toFixed(2)} times that with ${least}, in processor time ${cpu.toFixed(2)} times`,
    );
  lines.push(
    isFlat
      ? `weft's cost per call did not grow (at most ${promise} times, and as many requests)`
      : `weft's cost per call GREW (promised: at most ${promise} times, and as many requests)`,
    started === 0 ? 'weft started no program' : `weft started ${started} programs: NOT as promised`,
  );
  return lines.join('\n');
}

function formatCells({median, p95, cpuMs, processes, sends, syscalls}: Row, withSyscalls: boolean): string {
  const times = [median, p95, cpuMs].map((ms) => pad(ms?.toFixed(1) ?? ''));
  const counts = [processes, sends, ...(withSyscalls ? [syscalls] : [])].map((count) => pad(count));
  return [...times, ...counts].join('');
}

function pad(cell: string | number, width = 10): string {
  return String(cell).padStart(width);
}
