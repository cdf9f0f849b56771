import type {Call} from '../cni/plugin.ts';
import type {Host, Sandbox} from '../host.ts';
import {isNetnsNotFound} from '../netns/netns.ts';

/** The container's namespace. Close it, `using sandbox = openSandbox(call, host)`. */
export function openSandbox({netns}: Pick<Call, 'netns'>, host: Host): Sandbox {
  try {
    return host.sandbox(netns);
  } catch (cause) {
    throw new Error(`failed to open netns "${netns}"`, {cause});
  }
}

/** `undefined` when the container is gone, as DEL may find it. */
export function findSandbox({netns}: Pick<Call, 'netns'>, host: Host): Sandbox | undefined {
  if (netns === '') return undefined;
  try {
    return host.sandbox(netns);
  } catch (cause) {
    if (isNetnsNotFound(cause)) return undefined;
    throw new Error(`failed to open netns "${netns}"`, {cause});
  }
}
