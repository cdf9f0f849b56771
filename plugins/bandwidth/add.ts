import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Interface, Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {removeLink, type Link} from '../../lib/netlink/route/link.ts';
import {parseBandwidthConf, type BandwidthConf} from './conf.ts';
import {getHostInterface} from './host-interface.ts';
import {addIfb, findIfbs, isTagged} from './ifb.ts';
import type {Limit} from './plan.ts';
import {addRedirect, diffRedirect} from './redirect.ts';
import {diffShaper, ensureShaper} from './shaper.ts';

type Later = (what: string, step: () => Promise<unknown>) => void;

/** Limits what the container receives and sends. Without limits it hands the previous result on. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseBandwidthConf(call);
  const previous = findPrevResult(call);
  if (!previous) {
    throw new Error('must be called as chained plugin: put it behind the plugin that makes the interface');
  }
  if (!conf.ingress && !conf.egress) return previous;
  using sandbox = openSandbox(call, host);
  const port = await getHostInterface(host, sandbox, {ifName: call.ifName, previous});
  warnOfSmallBursts(call, conf, port);
  await using undo = new AsyncDisposableStack();
  const later: Later = (what, step) => undo.defer(() => quietly(call, what, step));
  const more: Interface[] = [];
  if (conf.ingress) {
    const shaper = {
      link: port,
      limit: conf.ingress,
      selection: conf.selection,
      direction: 'ingress',
    } as const;
    await ensureShaper(host, shaper, later);
  }
  if (conf.egress) {
    const ifb = await ensureEgress(host, conf, {limit: conf.egress, port, later});
    more.push({name: ifb.name, mac: ifb.mac});
  }
  undo.move();
  return {...previous, interfaces: [...previous.interfaces, ...more]};
}

function openSandbox(call: Call, host: Host) {
  try {
    return host.sandbox(call.netns);
  } catch (cause) {
    throw new Error(`failed to open netns "${call.netns}"`, {cause});
  }
}

/** The whole way: what the container sends goes to an ifb device and is held back there. */
async function ensureEgress(
  host: Host,
  conf: BandwidthConf,
  {limit, port, later}: {readonly limit: Limit; readonly port: Link; readonly later: Later},
): Promise<Link> {
  const {owner, selection} = conf;
  const {own, free} = await findIfbs(host, owner);
  // Without a tag it may be in use by another interface of the container.
  const left = own && isTagged(own) ? own : undefined;
  if (left) {
    const differences = [
      ...(await diffShaper(host, {link: left, limit, ...onIfb})),
      ...(await diffRedirect(host, {port, ifb: left, selection})),
    ];
    if (differences.length === 0) return left;
    await removeLink(host.rt, left);
  }
  const name = left?.name ?? free;
  if (name === undefined) {
    throw new Error(
      `adding link: file exists: other links have the names for the ifb device of "${owner.containerId}"`,
    );
  }
  let made: Link | undefined;
  later('remove the ifb device', async () => made && (await removeLink(host.rt, made)));
  const ifb = (made = await addIfb(host, {name, mtu: port.mtu, owner}));
  // It goes with the device.
  await ensureShaper(host, {link: ifb, limit, ...onIfb}, () => {});
  await addRedirect(host, {port, ifb, selection}, later);
  return ifb;
}

/** What comes to the ifb device has been selected already. */
const onIfb = {selection: {kind: 'all'}, direction: 'egress'} as const;

// linux/if_ether.h, ETH_HLEN
const headerBytes = 14;

function warnOfSmallBursts(call: Call, {ingress, egress}: BandwidthConf, {name, mtu}: Link): void {
  for (const [key, limit] of [
    ['ingressBurst', ingress],
    ['egressBurst', egress],
  ] as const) {
    if (!limit || limit.burstBits / 8 >= mtu + headerBytes) continue;
    call.warn(
      `"${key}" ${limit.burstBits} is less than a packet of "${name}" (${mtu + headerBytes} bytes, ${(mtu + headerBytes) * 8} bits): longer packets are dropped`,
    );
  }
}

/** An undo that fails must not hide why the ADD did. */
async function quietly(call: Call, what: string, step: () => Promise<unknown>): Promise<void> {
  try {
    await step();
  } catch (error) {
    call.warn(`undoing a failed ADD: could not ${what}: ${describeFailure(error)}`);
  }
}
