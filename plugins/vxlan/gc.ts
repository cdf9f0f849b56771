import {validAttachments} from '../../lib/cni/attachments.ts';
import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {endpointDirectory, removeStaleEndpoints} from '../../lib/overlay/endpoint-file.ts';
import {findPlaces, findTemplate} from './conf.ts';
import {findKnownNetwork} from './known.ts';
import {renderDelegate} from './render.ts';
import {removeStaleScratches} from './scratch.ts';

/** Removes what belongs to this network and to none of the attachments that are still in use; the delegate does, too. */
export async function gc(call: Call, _host: Host): Promise<void> {
  const {dataDir, runDir, network} = findPlaces(call);
  const keep = validAttachments(call);
  await everyStep([
    () => removeStaleEndpoints(endpointDirectory(network, runDir), call.name, keep),
    () => collectDelegate(call),
    () => {
      for (const name of removeStaleScratches(dataDir, call.name, keep))
        call.log.info({name}, 'remove what was written down of a container that is gone');
    },
  ]);
}

async function collectDelegate(call: Call): Promise<void> {
  const template = findTemplate(call);
  if (template === undefined) return;
  const lists = Object.entries(call.conf).filter(([key]) => key.toLowerCase().startsWith('cni.dev/'));
  const conf = renderDelegate(template, findKnownNetwork(call));
  await call.delegate(template.type, 'GC', {...conf, ...Object.fromEntries(lists)});
}
