import {validAttachments} from '../../lib/cni/attachments.ts';
import type {Call, Plugin} from '../../lib/cni/plugin.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {add} from './add.ts';
import {check} from './check.ts';
import {findDataDir} from './conf.ts';
import {del} from './del.ts';
import {removeStaleStates} from './state.ts';
import {status} from './status.ts';

/** Changes sysctls and attributes of a container's interface; README.md is its user's page. */
export const plugin: Plugin<Host> = {name: 'tuning', versions: specVersions, add, del, check, gc, status};

/** The interfaces of containers that are gone are gone as well: only what was written down of them is left. */
async function gc(call: Call): Promise<void> {
  const removed = removeStaleStates(findDataDir(call), call.name, validAttachments(call));
  for (const name of removed)
    call.log.info({name}, 'remove what was written down of a container that is gone');
}
