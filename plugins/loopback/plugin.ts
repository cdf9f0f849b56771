import {allDone} from '../../lib/cni/every.ts';
import type {Call, Plugin} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf} from '../../lib/ip/address.ts';
import {formatCidr, parseCidr, containsIp} from '../../lib/ip/cidr.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {getLink, setLink} from '../../lib/netlink/route/link.ts';
import {isNetnsNotFound} from '../../lib/netns/netns.ts';

const lo = {name: 'lo'} as const;
const loopbackRanges = [parseCidr('127.0.0.0/8')!, parseCidr('::1/128')!];

/** Brings up `lo` in a container; CNI_IFNAME does not matter. */
export const plugin: Plugin<Host> = {name: 'loopback', versions: specVersions, add, del, check, gc, status};

async function add(call: Call, host: Host): Promise<Result> {
  const previous = findPrevResult(call);
  using sandbox = host.sandbox(call.netns);
  const asked = getLink(sandbox.rt, lo);
  await allDone([asked, setLink(sandbox.rt, lo, {up: true})]);
  const before = await asked;
  const present = await listAddresses(sandbox.rt, {ifindex: before.ifindex});
  const stranger = present.find(({ip}) => !loopbackRanges.some((range) => containsIp(range, ip)));
  // Link-local addresses are what IPv6 makes itself on any link.
  if (stranger && stranger.scope === 0) {
    if (!before.up) await setLink(sandbox.rt, lo, {up: false});
    throw new Error(`loopback interface found with non-loopback address "${formatCidr(stranger)}"`);
  }
  if (previous) return previous;
  const firsts = ([4, 6] as const).flatMap((family) => present.find(({ip}) => familyOf(ip) === family) ?? []);
  return {
    interfaces: [{name: 'lo', mac: '00:00:00:00:00:00', sandbox: call.netns}],
    ips: firsts.map(({ip, prefix}) => ({interface: 0, address: {ip, prefix}})),
    routes: [],
    dns: {},
  };
}

async function del(call: Call, host: Host): Promise<void> {
  if (call.netns === '') return;
  try {
    using sandbox = host.sandbox(call.netns);
    await setLink(sandbox.rt, lo, {up: false});
  } catch (error) {
    if (!isNetnsNotFound(error)) throw error;
  }
}

async function check(call: Call, host: Host): Promise<void> {
  using sandbox = host.sandbox(call.netns);
  const {up} = await getLink(sandbox.rt, lo);
  if (!up) throw new Error(`loopback interface is down (lo in ${call.netns})`);
}

/** There is nothing outside the container's namespace. */
async function gc(): Promise<void> {}

async function status(): Promise<void> {}
