import {everyStep} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {forgetConnections} from './conntrack.ts';
import {removeLegacyForwarding} from './iptables.ts';
import {families} from './mapping.ts';
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
 * As DEL. Without mappings it asks whether there is anything of the attachment, in one datagram, and starts no process.
 */
export async function removeForwarding(call: Call, host: Host, mappings: readonly Mapping[]): Promise<void> {
  const owner: Owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  const plans = [
    () => planRemoval(host.nft, owner, mappings),
    async () => ({operations: await planReferenceRemoval(host.nft, owner), removed: []}),
  ];
  await everyStep([
    () => removeFromNftables(call, host, plans),
    () => (mappings.length === 0 ? undefined : removeLegacyForwarding(owner, {env: call.env})),
  ]);
}

type Plan = () => Promise<RemovalPlan>;

/** Carries out plans together or, if that fails, one by one, so that what cannot be removed keeps nothing else. */
export async function removeFromNftables(call: Call, host: Host, plans: readonly Plan[]): Promise<void> {
  const apart = () => everyStep(plans.map((plan) => () => carryOut(call, host, [plan])));
  await carryOut(call, host, plans).catch((error: unknown) => {
    if (plans.length === 1) throw error;
    return apart();
  });
}

async function carryOut(call: Call, host: Host, plans: readonly Plan[]): Promise<void> {
  let removed: readonly RemovedMapping[] = [];
  try {
    await transact(host.nft, async (): Promise<readonly Operation[]> => {
      const planned = await Promise.all(plans.map((plan) => plan()));
      removed = planned.flatMap((plan) => plan.removed);
      return planned.flatMap(({operations}) => operations);
    });
  } catch (error) {
    // A kernel without nftables holds nothing in it.
    if (isMissingNftables(error)) return;
    throw new Error(`remove the port mappings of ${call.containerId || call.name}`, {cause: explain(error)});
  }
  await forgetUdp(call, host, removed);
}

/** After the mappings are gone, or a client that keeps sending would bring its connection back. */
async function forgetUdp(call: Call, host: Host, removed: readonly RemovedMapping[]): Promise<void> {
  const udp = removed.filter(({protocol}) => protocol === portProtocols.udp);
  for (const family of families) {
    const own = udp.filter((mapping) => mapping.family === family);
    if (own.length === 0) continue;
    await forgetConnections(host, family, own).catch((error: unknown) =>
      call.warn(`forgetting UDP connections: ${describeFailure(error)}`),
    );
  }
}
