/**
 * Runs every step, also after one that failed: what DEL and GC do. Throws the error of the one that
 * failed, or an AggregateError of several.
 */
export async function everyStep(steps: readonly (() => unknown)[]): Promise<void> {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      errors.push(error);
    }
  }
  throwAll(errors);
}

/**
 * Waits for all of them, then throws what failed first. For requests that travel together: an undo
 * must not begin while some of them are still on their way.
 */
export async function allDone(tasks: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(tasks)).find(({status}) => status === 'rejected');
  if (failed) throw (failed as PromiseRejectedResult).reason;
}

function throwAll(errors: readonly unknown[]): void {
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, '');
}
