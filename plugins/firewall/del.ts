import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host} from '../../lib/host.ts';
import {knownOf} from './attachment.ts';
import {findTeardownConf} from './conf.ts';
import type {TeardownConf} from './conf.ts';
import {findFirewalld} from './firewalld.ts';
import type {Firewalld} from './firewalld.ts';
import {removeAttachment} from './teardown.ts';

/** Removes what was made for the container, by whichever backend; what is not there is removed already. */
export async function del(call: Call, host: Host): Promise<void> {
  const conf = findTeardownConf(call);
  const previous = findPrevResult(call);
  using firewalld = await findFirewalldFor(call, conf);
  await removeAttachment(call, host, {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    known: previous && knownOf(previous),
    zone: conf.zone,
    firewalld,
  });
}

/** Where firewalld does not run there is nothing of it to remove. */
export async function findFirewalldFor(call: Call, {backend}: TeardownConf): Promise<Firewalld | undefined> {
  return backend === undefined || backend === 'firewalld' ? findFirewalld(call) : undefined;
}
