import {defaultTimeoutMs, execPlugin} from './exec.ts';
import {findInPath} from './find.ts';
import type {Command} from './plugin.ts';
import {parseOutput} from './result.ts';
import type {Result} from './types.ts';

/** What a delegate gets. */
export interface DelegateInput {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
}

/** What a delegate shares with the call that delegates (spec section 4). */
export interface Delegation {
  readonly env: Readonly<Record<string, string>>;
  readonly path: readonly string[];
  readonly stdin: string;
  /** The configuration's version: that of a result which states none. */
  readonly cniVersion: string;
  readonly stderr: (text: string) => void;
  /** Where what is executed runs; this process's own folder if not given. */
  readonly cwd?: string | undefined;
  /** Runs the plugin of this file in process, if it is one of ours; `undefined` if it is not. */
  readonly callBuiltin: (
    file: string,
    delegate: DelegateInput,
  ) => Promise<{readonly result: Result | undefined}> | undefined;
}

/**
 * Runs plugin `type` with the caller's environment (but for the verb) and the configuration of the delegation, in
 * process where it is one of ours. Gives the result of an ADD. Errors of the delegate come back unchanged.
 */
export async function delegate(
  delegation: Delegation,
  type: string,
  command: Command,
): Promise<Result | undefined> {
  const file = findInPath(type, delegation.path);
  const env = {...delegation.env, CNI_COMMAND: command};
  const {stdin, stderr, cniVersion, cwd} = delegation;
  const builtin = delegation.callBuiltin(file, {env, stdin});
  if (builtin) return (await builtin).result;
  const stdout = await execPlugin({file, env, stdin, stderr, cwd, timeoutMs: findTimeout(env)});
  return command === 'ADD' ? parseOutput(stdout, cniVersion).result : undefined;
}

function findTimeout(env: Readonly<Record<string, string>>): number {
  const timeoutMs = Number(env['WEFT_DELEGATE_TIMEOUT_MS']);
  return timeoutMs > 0 ? timeoutMs : defaultTimeoutMs;
}
