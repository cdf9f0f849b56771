import type {PluginIo} from '../../lib/cni/skel.ts';
import {isDescendant} from './caller.ts';
import type {PluginCalls} from './calls.ts';
import type {WarmAnswer, WarmRequest} from './protocol.ts';
import type {Turns} from './turns.ts';

/** Runs calls of plugins as processes of their own would, one after the other for each container. */
export async function serveCall(
  request: WarmRequest,
  {
    calls,
    turns,
    isGone,
  }: {readonly calls: PluginCalls; readonly turns: Turns; readonly isGone: () => boolean},
): Promise<WarmAnswer> {
  const containerId = request.env['CNI_CONTAINERID'] ?? '';
  const run = () => runCall(request, {calls, isGone});
  if (containerId === '' || request.env['CNI_COMMAND'] === 'VERSION') return run();
  // What a call of this container executed, and waits for, may not wait for that call.
  if (turns.isTaken(containerId) && isDescendant(request.pid)) return run();
  return turns.run(containerId, run);
}

/** Takes back what a caller has never heard of. */
export async function undoCall(
  request: WarmRequest,
  {calls, turns}: {readonly calls: PluginCalls; readonly turns: Turns},
): Promise<WarmAnswer> {
  const env = {...request.env, CNI_COMMAND: 'DEL'};
  return serveCall({...request, env}, {calls, turns, isGone: () => false});
}

async function runCall(
  {name, env, stdin, pid, cwd}: WarmRequest,
  {calls, isGone}: {readonly calls: PluginCalls; readonly isGone: () => boolean},
): Promise<WarmAnswer> {
  if (isGone()) return {exitCode: 1, stdout: '', stderr: ''};
  const text = {stdout: '', stderr: ''};
  const io: PluginIo = {
    env: withoutNodeVariables(env),
    stdin: () => Promise.resolve(stdin),
    stdout(output) {
      // As a pipe that nobody reads: an ADD is taken back.
      if (isGone()) return Promise.reject(new Error('write EPIPE: the caller is gone'));
      text.stdout += output;
      return Promise.resolve();
    },
    stderr(output) {
      text.stderr += output;
    },
    caller: {pid, cwd},
  };
  const exitCode = await calls.call(name, io);
  return {exitCode, ...text};
}

/** As cli/environment.ts does in a process of its own. */
function withoutNodeVariables(env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const names = Object.keys(env).filter((name) => name.startsWith('NODE_'));
  if (names.length === 0) return env;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}
