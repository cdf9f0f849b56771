import type {Found, Row} from './results.ts';
import type {Kind} from './site.ts';
import type {Verdict} from './targets.ts';

const kinds: readonly Kind[] = ['standalone', 'warm', 'peer'];
const titles: Readonly<Record<Kind, string>> = {standalone: 'standalone', warm: 'warm', peer: 'Go'};

/** The tables of a run, for people. */
export function formatReport(found: Found, verdicts: readonly Verdict[]): string {
  return [formatTimes(found), formatMemory(found), formatVerdicts(verdicts)].join('\n\n');
}

/** One line per case, verb and number of containers: median, p95 and processor time of each kind, ratios to the peer. */
function formatTimes({rows, failures}: Found): string {
  const present = kinds.filter((kind) => rows.some((row) => row.kind === kind));
  const head = ['', ...present.map((kind) => titles[kind].padStart(24))];
  const sub = ['', ...present.map(() => pad('median') + pad('p95') + pad('cpu'))];
  const ours = present.filter((kind) => kind !== 'peer');
  const hasPeer = present.includes('peer');
  if (hasPeer) {
    head.push(...ours.map((kind) => pad(titles[kind], 12)));
    sub.push(...ours.map(() => pad('to Go', 12)));
  }
  const lines = new Map<string, Row[]>();
  for (const row of rows) {
    const name = lineOf(row);
    lines.set(name, [...(lines.get(name) ?? []), row]);
  }
  const body = [...lines].map(([name, own]) => {
    const cells = present.map((kind) => formatRow(own.find((row) => row.kind === kind)));
    const peer = own.find((row) => row.kind === 'peer');
    if (hasPeer)
      cells.push(
        ...ours.map((kind) =>
          formatRatio(
            own.find((row) => row.kind === kind),
            peer,
          ),
        ),
      );
    return [name.padEnd(30), ...cells].join('');
  });
  head[0] = 'milliseconds'.padEnd(30);
  sub[0] = ''.padEnd(30);
  const excuses = failures.map(
    (each) => `${lineOf(each)}, ${titles[each.kind]}: ${each.reason.slice(0, 200)}`,
  );
  return [head.join(''), sub.join(''), ...body, ...excuses].join('\n');
}

function lineOf({case: name, verb, present}: Pick<Row, 'case' | 'verb' | 'present'>): string {
  return `${name}: ${verb}${present === 0 ? '' : `, ${present.toLocaleString('en')} there`}`;
}

function formatRow(row: Row | undefined): string {
  if (!row) return ''.padStart(24);
  return [row.wall.median, row.wall.p95, row.cpu.median].map((ms) => pad(formatNumber(ms))).join('');
}

function formatRatio(row: Row | undefined, peer: Row | undefined): string {
  return pad(row && peer ? (row.wall.median / peer.wall.median).toFixed(2) : '', 12);
}

function formatMemory({memory, fits}: Found): string {
  const lines = memory.map(
    ({what, kind, bytes}) => `${what}, ${titles[kind]}`.padEnd(30) + pad((bytes / 1e6).toFixed(1)),
  );
  const verdicts = Object.entries(fits).map(
    ([kind, isFit]) => `30 calls at once ${isFit ? 'fit' : 'do NOT fit'} 512 MB: ${titles[kind as Kind]}`,
  );
  return ['private memory, MB', ...lines, ...verdicts].join('\n');
}

function formatVerdicts(verdicts: readonly Verdict[]): string {
  const lines = verdicts.map(({name, kind, limit, value, isMet}) => {
    const verdict = isMet === undefined ? 'not measured' : isMet ? 'met' : 'NOT met';
    return [
      name.padEnd(40),
      titles[kind].padEnd(12),
      pad(value === undefined ? '' : value.toFixed(2)),
      pad(`<= ${limit}`, 10),
      `   ${verdict}`,
    ].join('');
  });
  return ['targets (ratios to Go unless the name says otherwise)', ...lines].join('\n');
}

function formatNumber(ms: number): string {
  return ms < 100 ? ms.toFixed(1) : ms.toFixed(0);
}

function pad(cell: string, width = 8): string {
  return cell.padStart(width);
}
