import type {Answer, Verb} from './protocol.ts';
import type {Kind} from './site.ts';
import {spreadOf, type Spread} from './statistics.ts';

/** What was measured together: one verb of one case, with so many containers there, by one kind of plugins. */
export interface Subject {
  /** `masq`, `podman`, `crowd`, `full 400`, … */
  readonly case: string;
  readonly verb: Verb;
  readonly kind: Kind;
  /** Containers that are there meanwhile; 0 if it does not matter. */
  readonly present: number;
}

export interface Row extends Subject {
  /** Milliseconds of the wall clock. */
  readonly wall: Spread;
  /** Milliseconds of processor time. */
  readonly cpu: Spread;
}

export interface Failure extends Subject {
  readonly reason: string;
}

/** Memory of one call, or of the agent; bytes that are shared with nobody. */
export interface Memory {
  readonly what: string;
  readonly kind: Kind;
  readonly bytes: number;
}

/** All that a run found: what the tables and the JSON are made of. */
export interface Found {
  readonly rows: readonly Row[];
  readonly failures: readonly Failure[];
  readonly memory: readonly Memory[];
  /** Whether thirty calls at once fit 512 MB, by kind. */
  readonly fits: Readonly<Partial<Record<Kind, boolean>>>;
}

/** Gathers what is measured, in any order. */
export class Results {
  readonly memory: Memory[] = [];
  readonly fits: Partial<Record<Kind, boolean>> = {};
  readonly #values = new Map<string, {subject: Subject; wall: number[]; cpu: number[]}>();
  readonly #failures = new Map<string, Failure>();

  add(subject: Subject, {ms = 0, cpuMs = 0}: Answer): void {
    const key = keyOf(subject);
    const found = this.#values.get(key) ?? {subject, wall: [], cpu: []};
    this.#values.set(key, found);
    found.wall.push(ms);
    found.cpu.push(cpuMs);
  }

  /** What cannot do something (a peer that lacks a verb) is not asked again. */
  fail(subject: Subject, reason: string): void {
    this.#failures.set(keyOf(subject), {...subject, reason});
  }

  hasFailed(subject: Subject): boolean {
    return this.#failures.has(keyOf(subject));
  }

  found(): Found {
    const rows = [...this.#values.values()].map(({subject, wall, cpu}) => ({
      ...subject,
      wall: spreadOf(wall),
      cpu: spreadOf(cpu),
    }));
    return {rows, failures: [...this.#failures.values()], memory: this.memory, fits: this.fits};
  }
}

function keyOf(subject: Subject): string {
  return JSON.stringify([subject.case, subject.verb, subject.kind, subject.present]);
}
