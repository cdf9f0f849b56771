import type {Call} from '../../../lib/cni/plugin.ts';
import type {Host} from '../../../lib/host.ts';
import {listAddresses} from '../../../lib/netlink/route/address.ts';
import {removeLink} from '../../../lib/netlink/route/link.ts';
import {applyOperations} from '../../../lib/overlay/apply.ts';
import {formatConflict} from '../../../lib/overlay/claims.ts';
import {planDesired} from '../../../lib/overlay/desired.ts';
import {findDirect} from '../../../lib/overlay/direct.ts';
import {ensureDevice, listOverlayDevices} from '../../../lib/overlay/ensure-device.ts';
import {observeOverlay} from '../../../lib/overlay/observe.ts';
import {formatOperation} from '../../../lib/overlay/operation.ts';
import {planOverlay} from '../../../lib/overlay/plan.ts';
import {segmentBridgeName} from '../../../lib/overlay/segment-bridge.ts';
import type {Carrier, Desired} from '../../../lib/overlay/state.ts';
import type {StaticNetwork} from '../../../lib/overlay/static-file.ts';
import type {VxlanConf} from '../conf.ts';
import {getCarrier} from './carrier.ts';
import {diffStaticRuleset, ensureStaticRuleset, refuseOverlap} from './ruleset.ts';
import {findSelf, type Identity} from './self.ts';

/** What the kernel shall have, and who we are. */
export interface StaticPlan extends Identity {
  readonly desired: Desired;
  readonly carrier: Carrier;
  /** Of an `l2` network. */
  readonly bridge: string | undefined;
}

/** Asks the kernel where we are and plans the rest. Throws CniError 7 or a sentence where this host is none of those listed. */
export async function planStatic(
  host: Host,
  described: StaticNetwork,
  {node, bridge: named}: {readonly node: string | undefined; readonly bridge: string | undefined},
): Promise<StaticPlan> {
  const addresses = await listAddresses(host.rt);
  const identity = findSelf(described, {node, addresses});
  const {self, peers} = identity;
  const {network} = described;
  const carrier = await getCarrier(host, identity, addresses);
  const underlay = network.directRouting ? peers.flatMap((peer) => peer.underlay) : [];
  const direct = await findDirect(host.rt, underlay);
  const bridge = network.form === 'l2' ? (named ?? segmentBridgeName(network.vni)) : undefined;
  const desired = planDesired({network, self, peers}, {carrier, mtu: self.mtu, bridge, direct});
  return {...identity, desired, carrier, bridge};
}

/** Brings devices, neighbours, forwarding entries and routes to what they shall be; what is as it should be is left alone. */
export async function ensureStatic(
  host: Host,
  {desired}: StaticPlan,
  {conf, call}: {readonly conf: VxlanConf; readonly call: Pick<Call, 'warn' | 'log'>},
): Promise<void> {
  const {devices, network, conflicts} = desired;
  const warn = (message: string) => call.warn(message);
  for (const conflict of conflicts) warn(`overlay network "${network.name}": ${formatConflict(conflict)}`);
  await refuseOverlap(host, desired, conf);
  heedPathMtu(host, desired);
  await removeOldDevices(host, desired);
  await ensureStaticRuleset(host, desired, conf);
  for (const spec of devices) {
    const {outcome, what} = await ensureDevice(host, spec);
    if (outcome !== 'kept') call.log.info({device: spec.name, outcome, what}, 'device');
  }
  const {operations, obstacles} = planOverlay(desired, await observeOverlay(host.rt, desired));
  for (const {peer, text} of obstacles)
    warn(`overlay network "${network.name}": no route to ${peer}: ${text}`);
  const {failed} = await applyOperations(host.rt, operations);
  call.log.info({changes: operations.length, failed: failed.length}, 'the way to other hosts');
  const [first] = failed;
  if (!first) return;
  const {operation, error} = first;
  throw new Error(
    `overlay network "${network.name}": ${failed.length} of ${operations.length} changes failed, the first of them: ${formatOperation(operation)}`,
    {cause: error},
  );
}

/** What a container sends is told of a narrower path only if the host lets forwarded packets know (`df inherit`). */
function heedPathMtu({sysctl}: Host, {network}: Desired): void {
  if (network.form === 'l2') return;
  try {
    sysctl.ensure('net/ipv4/ip_forward_use_pmtu', '1');
  } catch {
    // Where /proc/sys cannot be written, such packets are fragmented instead.
  }
}

/** Of this network, but of another VNI or family: what the description said before. */
async function removeOldDevices(host: Host, {devices, network}: Desired): Promise<void> {
  const names = new Set(devices.map(({name}) => name));
  const old = (await listOverlayDevices(host.rt, network.name)).filter(({name}) => !names.has(name));
  for (const {ifindex} of old) await removeLink(host.rt, {ifindex});
}

/** What is not as it should be, as commands that would mend it; empty when all is well. */
export async function diffStatic(
  host: Host,
  {desired}: StaticPlan,
  conf: VxlanConf,
): Promise<readonly string[]> {
  const actual = await observeOverlay(host.rt, desired);
  const gone = desired.devices.filter(({name}) => !actual.devices.has(name));
  const {operations} = planOverlay(desired, actual);
  return [
    ...gone.map(({name}) => `device ${name} is gone`),
    ...operations.map((each) => formatOperation(each)),
    ...(await diffStaticRuleset(host, desired, conf)),
  ];
}
