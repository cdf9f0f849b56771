import {everyStep} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {JsonObject} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {endpointDirectory, removeEndpoint} from '../../lib/overlay/endpoint-file.ts';
import {findPlaces, findTemplate, ownerOf} from './conf.ts';
import {findKnownNetwork} from './known.ts';
import {renderDelegate} from './render.ts';
import {findScratch, removeScratch} from './scratch.ts';

/**
 * Has the delegate disconnect the container, with the configuration that connected it. Where that is not written down
 * (any more), with what today's says: the delegate finds what is left by its owner.
 */
export async function del(call: Call, _host: Host): Promise<void> {
  const {dataDir, runDir, network} = findPlaces(call);
  const owner = ownerOf(call);
  await everyStep([
    () => removeEndpoint(endpointDirectory(network, runDir), owner),
    async () => {
      const scratch = findScratch(dataDir, owner);
      if (scratch) await disconnect(call, scratch.conf);
      else await disconnectUnknown(call);
      removeScratch(dataDir, owner);
    },
  ]);
}

async function disconnect(call: Call, saved: JsonObject): Promise<void> {
  const type = findKey(saved, 'type');
  if (typeof type !== 'string') {
    call.warn('what was written down of the delegate has no type; nothing to do');
    return;
  }
  await call.delegate(type, 'DEL', withPrevResult(call, saved));
}

/** A result is of its configuration's version. */
function withPrevResult(call: Call, conf: JsonObject): JsonObject {
  const previous = findKey(call.conf, 'prevResult');
  const isSameVersion = findKey(conf, 'cniVersion') === findKey(call.conf, 'cniVersion');
  return previous === undefined || !isSameVersion ? conf : {...conf, prevResult: previous};
}

/** Mostly the second DEL of a container: flannel's plugin does nothing at all here. */
async function disconnectUnknown(call: Call): Promise<void> {
  const template = findTemplate(call);
  if (template === undefined) return;
  const known = findKnownNetwork(call);
  try {
    await call.delegate(template.type, 'DEL', withPrevResult(call, renderDelegate(template, known)));
  } catch (error) {
    if (known) throw error;
    // A delegate of others may not take a configuration without a subnet, and there is none to tell.
    call.warn(`DEL by "${template.type}", without what connected the container: ${describeFailure(error)}`);
  }
}
