import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import type {Membership, MembershipState, Snapshot} from '../../agent/membership/membership.ts';
import type {Logger} from '../../lib/log.ts';

/** A membership that is being listened to. */
export interface Recorded {
  readonly membership: Membership;
  readonly snapshots: readonly Snapshot[];
  readonly states: readonly MembershipState[];
  /** The last snapshot; throws while there is none. */
  readonly snapshot: Snapshot;
  /** Waits until it holds, which counts as an assertion; after a minute throws with the last state and snapshot. */
  until(what: string, holds: (recorded: Recorded) => boolean | undefined): Promise<void>;
}

/** Starts a membership and closes it when the test ends. */
export function record(t: ExecutionContext, membership: Membership): Recorded {
  const snapshots: Snapshot[] = [];
  const states: MembershipState[] = [];
  membership.start({
    onSnapshot: (snapshot) => snapshots.push(snapshot),
    onState: (state) => states.push(state),
  });
  t.teardown(() => membership.close());
  const holdsNow = (holds: (recorded: Recorded) => boolean | undefined) => {
    if (snapshots.length > 0) return holds(recorded) === true;
    try {
      return holds(recorded) === true;
    } catch {
      // It asked for a snapshot.
      return false;
    }
  };
  const recorded: Recorded = {
    membership,
    snapshots,
    states,
    get snapshot() {
      const last = snapshots.at(-1);
      if (last === undefined) throw new Error('no snapshot yet');
      return last;
    },
    async until(what, holds) {
      const deadline = performance.now() + 60_000;
      while (!holdsNow(holds)) {
        if (performance.now() > deadline) {
          const last = snapshots.at(-1);
          const seen = `${last?.self?.id ?? 'nobody'} and ${last?.peers.map(({id}) => id).join() ?? 'no list'}`;
          throw new Error(`not within a minute: ${what}; ${JSON.stringify(membership.state)}, ${seen}`);
        }
        await setTimeout(10);
      }
      t.pass(what);
    },
  };
  return recorded;
}

/** A logger that keeps its lines for the test to look at, and shows them when it fails. */
export function keepLog(t: ExecutionContext): Logger & {readonly lines: readonly string[]} {
  const lines: string[] = [];
  const at = (level: string) =>
    ((facts: unknown, sentence?: string) => {
      lines.push(
        `${performance.now().toFixed(0)} ${level} ${sentence ?? String(facts)} ${JSON.stringify(facts, errorAsText)}`,
      );
    }) as Logger['info'];
  t.teardown(() => {
    if (!t.passed) for (const line of lines.slice(-100)) t.log(line);
  });
  return {
    lines,
    fatal: at('fatal'),
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    trace: at('trace'),
  };
}

function errorAsText(_: string, value: unknown): unknown {
  return value instanceof Error ? value.message : value;
}
