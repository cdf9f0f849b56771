import type {MembershipEvents, MembershipState, Snapshot} from './membership.ts';

/** Passes on what a membership knows: remembers the last snapshot and state, and tells nobody the same twice. */
export class Publisher {
  #events: MembershipEvents | undefined;
  #snapshot: Snapshot | undefined;
  #state: MembershipState = {kind: 'starting', reason: 'not started'};

  get snapshot(): Snapshot | undefined {
    return this.#snapshot;
  }

  get state(): MembershipState {
    return this.#state;
  }

  open(events: MembershipEvents): void {
    this.#events = events;
  }

  /** After this, nobody is called any more. */
  close(): void {
    this.#events = undefined;
  }

  publish(snapshot: Snapshot): void {
    this.#snapshot = snapshot;
    this.#events?.onSnapshot(snapshot);
  }

  enter(state: MembershipState): void {
    if (state.kind === this.#state.kind && state.reason === this.#state.reason) return;
    this.#state = state;
    this.#events?.onState(state);
  }
}
