import type {Conflist} from '../integration/harness/chain.ts';

/* What main and workers say to each other: one line of JSON per order, one per answer. */

export type Verb = 'ADD' | 'CHECK' | 'DEL' | 'VERSION' | 'STATUS';

/** What a worker is told on its command line. */
export interface Setting {
  /** Directory of the plugins. */
  readonly dir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Control group of the worker's own, from the hierarchy's root. */
  readonly cgroup: string;
  /** Process id, on the host, of the agent whose processor time belongs to the calls. */
  readonly agentPid?: number;
}

export type Order =
  /** Network namespaces for containers `from` to `to` - 1. */
  | {readonly kind: 'containers'; readonly from: number; readonly to: number}
  /** The calls of a chain for one container, one after the other. */
  | {readonly kind: 'chain'; readonly verb: Verb; readonly network: Conflist; readonly container: number}
  /** One verb for many containers, `width` at a time; they are distributed over the networks. */
  | {
      readonly kind: 'crowd';
      readonly verb: 'ADD' | 'DEL';
      readonly networks: readonly Conflist[];
      readonly from: number;
      readonly to: number;
      readonly width: number;
      /** Bytes of memory that all of them together may have. */
      readonly memoryLimit?: number;
    }
  /** As `chain` for the first plugin, with a look at its memory. */
  | {readonly kind: 'memory'; readonly verb: Verb; readonly network: Conflist; readonly container: number}
  | {readonly kind: 'agentMemory'};

export interface Answer {
  /** Of `chain` the sum of its plugins; of `crowd` the wall clock. */
  readonly ms?: number;
  readonly cpuMs?: number;
  readonly privateBytes?: number;
  /** With a limit: whether somebody was killed or refused for want of memory. */
  readonly isOutOfMemory?: boolean;
  /** What went wrong. */
  readonly error?: string;
}
