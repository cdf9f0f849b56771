import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host} from '../../lib/host.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {parseBandwidthConf, type BandwidthConf} from './conf.ts';
import {getHostInterface} from './host-interface.ts';
import {findIfbs, ifbNames} from './ifb.ts';
import {diffRedirect} from './redirect.ts';
import {diffShaper} from './shaper.ts';

/** Compares the limits with what is there; throws everything that is missing or different. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseBandwidthConf(call);
  const previous = findPrevResult(call);
  if (!previous) throw new Error('must be called as a chained plugin: prevResult is missing');
  if (!conf.ingress && !conf.egress) return;
  using sandbox = host.sandbox(call.netns);
  const port = await getHostInterface(host, sandbox, {ifName: call.ifName, previous});
  const differences: string[] = [];
  if (conf.ingress) {
    const {ingress: limit, selection} = conf;
    differences.push(...(await diffShaper(host, {link: port, limit, selection, direction: 'ingress'})));
  }
  if (conf.egress) differences.push(...(await diffEgress(host, conf, port)));
  if (differences.length > 0) throw new Error(differences.join('; '));
}

async function diffEgress(
  host: Host,
  {owner, egress, selection}: BandwidthConf,
  port: Link,
): Promise<readonly string[]> {
  const {own: ifb} = await findIfbs(host, owner);
  if (!ifb)
    return [`get ifb device: Link not found: "${ifbNames(owner)[0]}" is gone, the container cannot send`];
  const all = {kind: 'all'} as const;
  return [
    ...(ifb.up ? [] : [`"${ifb.name}" is down, the container cannot send; ip link set ${ifb.name} up`]),
    ...(await diffShaper(host, {link: ifb, limit: egress!, selection: all, direction: 'egress'})),
    ...(await diffRedirect(host, {port, ifb, selection})),
  ];
}
