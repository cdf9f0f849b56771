import type {Call} from '../../../lib/cni/plugin.ts';
import {findKey} from '../../../lib/cni/shape.ts';
import type {JsonObject} from '../../../lib/cni/types.ts';
import type {Host} from '../../../lib/host.ts';
import {parseIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {findLink, getLink} from '../../../lib/netlink/route/link.ts';
import {getRoute} from '../../../lib/netlink/route/route.ts';
import {withLock} from '../../../lib/store/lock.ts';
import type {VxlanConf} from '../conf.ts';
import type {HostNetwork} from '../render.ts';
import {ensureStatic, planStatic, type StaticPlan} from './datapath.ts';
import {ensureLockPath, findRecord, hostNetworkOf, makeRecord, readHost, writeRecord} from './record.ts';
import type {StaticRecord} from './record.ts';
import {hasStaticRuleset} from './ruleset.ts';
import {openStaticSource} from './source.ts';

export type StaticConf = VxlanConf & {readonly static: JsonObject | string};

/** Whether the hosts are written down, and no agent is asked. */
export function isStatic(conf: VxlanConf): conf is StaticConf {
  return conf.static !== undefined;
}

const lockTimeoutMs = 20_000;

/** Makes sure that this host's part of a network without agent is in place, and says what the host has of it. */
export async function ensureStaticNetwork(call: Call, host: Host, conf: StaticConf): Promise<HostNetwork> {
  const source = openStaticSource(conf);
  const bridge = findBridge(conf);
  const key = keyOf(conf, {source: source.key, bridge});
  const record = findRecord(conf);
  if (record?.key === key && (await isInPlace(host, record, {call, conf}))) return readHost(record.host);
  return withLock({path: ensureLockPath(conf), timeoutMs: lockTimeoutMs}, async () => {
    const plan = await planStatic(host, source.read(), {node: conf.node, bridge});
    await ensureStatic(host, plan, {conf, call});
    const links = await Promise.all(plan.desired.devices.map(({name}) => getLink(host.rt, {name})));
    writeRecord(conf, makeRecord(plan, {key, links}));
    return hostNetworkOf(plan);
  });
}

/** What this host shall have of the network. Changes nothing. */
export async function planStaticNetwork(host: Host, conf: StaticConf): Promise<StaticPlan> {
  return planStatic(host, openStaticSource(conf).read(), {node: conf.node, bridge: findBridge(conf)});
}

/** All that decides what is in place. */
function keyOf(
  {node, masquerade, exemptDestinations, filter}: StaticConf,
  {source, bridge}: {readonly source: string; readonly bridge: string | undefined},
): string {
  const exempt = exemptDestinations.map(formatCidr);
  return JSON.stringify([source, node ?? '', bridge ?? '', masquerade, exempt, filter]);
}

/** The bridge that the user names. */
function findBridge({template}: StaticConf): string | undefined {
  const bridge = findKey(template.delegate, 'bridge');
  return typeof bridge === 'string' && bridge !== '' ? bridge : undefined;
}

/** Looks at the devices, at the interface below and at one of the sampled routes per device: not at all of them. */
async function isInPlace(
  host: Host,
  {carrier, devices, samples}: StaticRecord,
  {call, conf}: {readonly call: Call; readonly conf: StaticConf},
): Promise<boolean> {
  if (!(await hasStaticRuleset(host, conf))) return false;
  const below = await findLink(host.rt, {ifindex: carrier.ifindex});
  if (!below?.up || (below.mtu !== carrier.mtu && carrier.ifindex !== loopback)) return false;
  for (const {name, ifindex, mac} of devices) {
    const link = await findLink(host.rt, {ifindex});
    if (!link?.up || link.name !== name || link.mac !== mac) return false;
    const own = samples.filter(({device}) => device === name);
    // Each container looks at another one: what is gone alone is found as well, in time.
    const sample = own[call.containerId.charCodeAt(call.containerId.length - 1) % own.length];
    const dst = sample && parseIp(sample.address);
    if (dst === undefined) continue;
    const route = await getRoute(host.rt, {dst}).catch(() => undefined);
    if (route?.ifindex !== ifindex) return false;
  }
  return true;
}

/** Its ifindex, in every namespace. */
const loopback = 1;
