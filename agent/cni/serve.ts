import type {PluginIo} from '../../lib/cni/skel.ts';
import {isDescendant} from './caller.ts';
import type {Pause, PluginCalls} from './calls.ts';
import type {WarmAnswer, WarmRequest} from './protocol.ts';
import type {Slots} from './slots.ts';
import type {Turns} from './turns.ts';

/** What calls share. */
export interface Serving {
  readonly calls: PluginCalls;
  readonly turns: Turns;
  readonly slots: Slots;
}

/** Runs calls of plugins as processes of their own would, one after the other for each container. */
export async function serveCall(
  request: WarmRequest,
  {calls, turns, slots}: Serving,
  isGone: () => boolean,
): Promise<WarmAnswer> {
  const containerId = request.env['CNI_CONTAINERID'] ?? '';
  const run = () => runInSlot(slots, (pause) => runCall(request, {calls, isGone, pause}));
  if (containerId === '' || request.env['CNI_COMMAND'] === 'VERSION') return run();
  // What a call of this container executed, and waits for, may not wait for that call.
  if (turns.isTaken(containerId) && isDescendant(request.pid)) return run();
  return turns.run(containerId, run);
}

/** Takes back what a caller has never heard of. */
export async function undoCall(request: WarmRequest, serving: Serving): Promise<WarmAnswer> {
  const env = {...request.env, CNI_COMMAND: 'DEL'};
  return serveCall({...request, env}, serving, () => false);
}

async function runInSlot<T>(slots: Slots, work: (pause: Pause) => Promise<T>): Promise<T> {
  let slot = await slots.take();
  // A GC waits for many links at once: it gives up one slot, and takes one again.
  let pauses = 0;
  try {
    return await work(async (wait) => {
      pauses++;
      slot.release();
      try {
        return await wait;
      } finally {
        if (--pauses === 0) slot = await slots.take({first: true});
      }
    });
  } finally {
    slot.release();
  }
}

interface Running {
  readonly calls: PluginCalls;
  readonly isGone: () => boolean;
  readonly pause: Pause;
}

async function runCall(
  {name, env, stdin, pid, cwd}: WarmRequest,
  {calls, isGone, pause}: Running,
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
  const exitCode = await calls.call(name, io, pause);
  return {exitCode, ...text};
}

/** As cli/environment.ts does in a process of its own. */
function withoutNodeVariables(env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const names = Object.keys(env).filter((name) => name.startsWith('NODE_'));
  if (names.length === 0) return env;
  return Object.fromEntries(Object.entries(env).filter(([name]) => !names.includes(name)));
}
