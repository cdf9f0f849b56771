import {describeFailure} from './failure.ts';
import type {Call} from './plugin.ts';

/**
 * What an ADD has to take back if it fails: `await using undo = new Undo(call)`, an `add` for each step, and `commit` at
 * the end. Steps are taken back in reverse order.
 */
export class Undo implements AsyncDisposable {
  readonly #stack = new AsyncDisposableStack();
  readonly #warn: Call['warn'];

  constructor({warn}: Pick<Call, 'warn'>) {
    this.#warn = warn;
  }

  /** `what` completes "could not …", for the warning when even that fails: it must not hide why the ADD did. */
  add(what: string, step: () => unknown): void {
    this.#stack.defer(async () => {
      try {
        await step();
      } catch (error) {
        this.#warn(`undoing a failed ADD: could not ${what}: ${describeFailure(error)}`);
      }
    });
  }

  /** The ADD succeeded: nothing is taken back. */
  commit(): void {
    this.#stack.move();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}
