import {everyStep} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host} from '../../lib/host.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {findContainers} from './conf.ts';
import {forgetConnections} from './conntrack.ts';
import {removeLegacyForwarding} from './iptables.ts';
import {families, planForwards} from './mapping.ts';
import type {Mapping} from './mapping.ts';
import {explain} from './portmap.ts';
import {planReferenceRemoval} from './reference-nft.ts';
import {planRemoval} from './removal.ts';
import type {RemovalPlan, RemovedMapping} from './removal.ts';
import {findMappings} from './teardown.ts';

/** Removes what forwards ports to the container, whoever made it; what is not there is removed already. */
export async function del(call: Call, host: Host): Promise<void> {
  await removeForwarding(call, host, findMappings(call));
}

/**
 * As DEL. Without mappings it asks whether there is anything of the attachment, in one datagram; a process is started only
 * where iptables-legacy has something of it.
 */
export async function removeForwarding(call: Call, host: Host, mappings: readonly Mapping[]): Promise<void> {
  const owner: Owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  const plans = [
    () => planRemoval(host.nft, owner, mappings),
    async () => ({operations: await planReferenceRemoval(host.nft, owner), removed: []}),
  ];
  const removed = knownMappings(call, mappings);
  await everyStep([
    () => removeFromNftables(host, {what: call.containerId, plans, removed}),
    () => removeLegacyForwarding(owner, {env: call.env}),
    () => forgetUdp(call, host, removed),
  ]);
}

/** What the previous result tells of where the ports led: the reference's rules are not read for it. */
function knownMappings(call: Call, mappings: readonly Mapping[]): RemovedMapping[] {
  const udp = mappings.filter(({protocol}) => protocol === 'udp');
  const previous = udp.length === 0 ? undefined : findPrevResult(call);
  if (!previous) return [];
  return planForwards(udp, findContainers(call, previous)).map(({family, hostPort, container}) => ({
    family,
    protocol: portProtocols.udp,
    hostPort,
    container: container.ip,
  }));
}

/** What is to be removed, and of what. */
export interface Removal {
  readonly what: string;
  readonly plans: readonly (() => Promise<RemovalPlan>)[];
  /** Gets what was removed. */
  readonly removed: RemovedMapping[];
}

/** Carries out plans together or, if that fails, one by one, so that what cannot be removed keeps nothing else. */
export async function removeFromNftables(host: Host, removal: Removal): Promise<void> {
  const {plans} = removal;
  try {
    await carryOut(host, removal);
  } catch {
    await everyStep(plans.map((plan) => () => carryOut(host, {...removal, plans: [plan]})));
  }
}

async function carryOut(host: Host, {what, plans, removed}: Removal): Promise<void> {
  let planned: readonly RemovalPlan[] = [];
  try {
    await transact(host.nft, async (): Promise<readonly Operation[]> => {
      planned = await Promise.all(plans.map((plan) => plan()));
      return planned.flatMap(({operations}) => operations);
    });
  } catch (error) {
    // A kernel without nftables holds nothing in it.
    if (isMissingNftables(error)) return;
    throw new Error(`remove the port mappings of ${what}`, {cause: explain(error)});
  }
  removed.push(...planned.flatMap((plan) => plan.removed));
}

/** After the mappings are gone, or a client that keeps sending would bring its connection back. */
export async function forgetUdp(call: Call, host: Host, removed: readonly RemovedMapping[]): Promise<void> {
  const udp = removed.filter(({protocol}) => protocol === portProtocols.udp);
  for (const family of families) {
    const own = udp.filter((mapping) => mapping.family === family);
    if (own.length === 0) continue;
    await forgetConnections(host, family, own).catch((error: unknown) =>
      call.warn(`forgetting UDP connections: ${describeFailure(error)}`),
    );
  }
}
