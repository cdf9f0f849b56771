import {findSandbox} from '../../lib/attach/sandbox.ts';
import {everyStep} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {findLink, setLink} from '../../lib/netlink/route/link.ts';
import {changeTo} from './attributes.ts';
import type {Attributes} from './attributes.ts';
import {findDataDir} from './conf.ts';
import {readState, removeState} from './state.ts';

/**
 * Gives the interface back what it had, where it still is, and forgets it. An attribute that cannot be restored is a
 * warning, as it is nothing at all with the reference: the interfaces of most containers are about to go, and a chain
 * whose DEL fails here never gets to removing them. What was there stays written down then.
 */
export async function del(call: Call, host: Host): Promise<void> {
  const dataDir = findDataDir(call);
  const owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  const originals = readState(dataDir, owner);
  using sandbox = originals && findSandbox(call, host);
  if (sandbox && originals && !(await restore(call, sandbox, originals))) return;
  removeState(dataDir, owner);
}

/** `false` when some of it could not be restored. */
async function restore(call: Call, {rt}: Sandbox, originals: Attributes): Promise<boolean> {
  const link = await findLink(rt, {name: call.ifName});
  if (!link) return true;
  try {
    // One after the other, so that one that fails keeps none of the others.
    await everyStep(
      Object.entries(originals).map(
        ([name, value]) =>
          () =>
            setLink(rt, {ifindex: link.ifindex}, changeTo({[name]: value})),
      ),
    );
    return true;
  } catch (error) {
    call.warn(`could not restore "${call.ifName}": ${describeFailure(error)}`);
    return false;
  }
}
