import type {Call} from '../../lib/cni/plugin.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {acquireLock} from '../../lib/store/lock.ts';

const timeoutMs = 60_000;

/**
 * The container's namespace, locked against other calls for it, those of the reference plugin too: two that look for a
 * free table at the same time would find the same. The lock is the flock(2) of the namespace's own file and ends with
 * the sandbox. Nothing is created where a path leads nowhere.
 */
export async function openLocked(call: Call, host: Host): Promise<Sandbox> {
  const sandbox = host.sandbox(call.netns);
  try {
    await acquireLock(sandbox.netns.fd, {path: call.netns, timeoutMs});
    return sandbox;
  } catch (error) {
    sandbox.close();
    throw error;
  }
}
