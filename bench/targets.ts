import type {Verb} from './protocol.ts';
import type {Found, Row} from './results.ts';
import type {Kind} from './site.ts';

/** What the project promises of one number: at most this much, as a ratio to the peer's unless the name says otherwise. */
export interface Target {
  readonly name: string;
  readonly warm: number | undefined;
  readonly standalone: number | undefined;
  /** `undefined` if it was not measured. */
  readonly value: (found: Found, kind: Kind) => number | undefined;
}

export interface Verdict {
  readonly name: string;
  readonly kind: 'warm' | 'standalone';
  readonly limit: number;
  readonly value: number | undefined;
  readonly isMet: boolean | undefined;
}

/** How many containers the full nodes have, and what the emptiest is compared with. */
export const fewPresent = 10;
export const mostPresent = 2000;
const MB = 1e6;

function find({rows}: Found, name: string, verb: Verb, kind: Kind, present = 0): Row | undefined {
  return rows.find(
    (row) => row.case === name && row.verb === verb && row.kind === kind && row.present === present,
  );
}

function ratio(
  name: string,
  verb: Verb,
  {present = 0, of = 'wall'}: {readonly present?: number; readonly of?: 'wall' | 'cpu'} = {},
): Target['value'] {
  return (found, kind) => {
    const [own, peer] = [find(found, name, verb, kind, present), find(found, name, verb, 'peer', present)];
    return own && peer && own[of].median / peer[of].median;
  };
}

/** Of time and processor time the one that grew more: on a busy machine both grow, of a cost that grows both do. */
function growth(verb: Verb): Target['value'] {
  return (found, kind) => {
    const name = `full ${mostPresent}`;
    const [few, many] = [fewPresent, mostPresent].map((present) => find(found, name, verb, kind, present));
    return few && many && Math.max(many.wall.median / few.wall.median, many.cpu.median / few.cpu.median);
  };
}

function privateMegabytes(found: Found, kind: Kind): number | undefined {
  const bytes = found.memory.filter((each) => each.kind === kind && !each.what.startsWith('agent'));
  return bytes.length === 0 ? undefined : Math.max(...bytes.map((each) => each.bytes)) / MB;
}

function doesNotFit({fits}: Found, kind: Kind): number | undefined {
  return fits[kind] === undefined ? undefined : fits[kind] ? 0 : 1;
}

function target(
  name: string,
  warm: number | undefined,
  standalone: number | undefined,
  value: Target['value'],
): Target {
  return {name, warm, standalone, value};
}

export const targets: readonly Target[] = [
  target('ADD without ipMasq', 0.35, 4, ratio('plain', 'ADD')),
  target('ADD with ipMasq', 0.15, 1.4, ratio('masq', 'ADD')),
  target('DEL without ipMasq', 0.9, 2.2, ratio('plain', 'DEL')),
  target('DEL with ipMasq', 0.35, 0.7, ratio('masq', 'DEL')),
  target('ADD with ipMasq, 400 present', 0.06, 0.5, ratio('full 400', 'ADD', {present: 400})),
  target("podman's default chain, ADD", 0.1, 1.5, ratio('podman', 'ADD')),
  target("podman's default chain, DEL", 0.15, 0.7, ratio('podman', 'DEL')),
  target('100 at once with ipMasq, ADD', 0.15, 1.2, ratio('crowd', 'ADD')),
  target('100 at once with ipMasq, DEL', 0.1, 0.5, ratio('crowd', 'DEL')),
  target('processor time of an ADD with ipMasq', 0.2, 1.4, ratio('masq', 'ADD', {of: 'cpu'})),
  target('own growth, ADD at 2,000 against 10', 1.2, 1.2, growth('ADD')),
  target('own growth, DEL at 2,000 against 10', 1.2, 1.2, growth('DEL')),
  target('VERSION', 0.6, 14, ratio('plain', 'VERSION')),
  target('private memory of a call, MB', undefined, 15, privateMegabytes),
  target('30 calls at once do not fit 512 MB', undefined, 0, doesNotFit),
];

/** Each target with what was found; undefined where it was not measured. */
export function judge(found: Found): readonly Verdict[] {
  return targets.flatMap(({name, value, ...limits}) =>
    (['warm', 'standalone'] as const).flatMap((kind): Verdict[] => {
      const limit = limits[kind];
      if (limit === undefined) return [];
      const measured = value(found, kind);
      return [
        {name, kind, limit, value: measured, isMet: measured === undefined ? undefined : measured <= limit},
      ];
    }),
  );
}
