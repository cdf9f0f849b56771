import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {sameIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {listRules, removeRule} from '../../lib/netlink/route/rule.ts';
import {isNetnsNotFound} from '../../lib/netns/netns.ts';
import {addressesOf, findTable} from './conf.ts';
import {openLocked} from './locked.ts';

/**
 * Removes the rules for the interface's addresses: those it has, and those it had by the previous result. The routes go
 * with the interface, and everything with the namespace.
 */
export async function del(call: Call, host: Host): Promise<void> {
  using sandbox = await openIfThere(call, host);
  if (!sandbox) return;
  const ips = [...(await presentAddresses(sandbox, call.ifName)), ...previousAddresses(call)];
  if (ips.length === 0) return;
  const table = findTable(call);
  const rules = await Promise.all([listRules(sandbox.rt, {family: 4}), listRules(sandbox.rt, {family: 6})]);
  const own = rules.flat().filter(({src, table: to}) => {
    return src && (table === undefined || to === table) && ips.some((ip) => sameIp(ip, src.ip));
  });
  await everyStep(
    own.map((rule) => async () => {
      await removeRule(sandbox.rt, rule).catch((cause: unknown) => {
        throw new Error('Failed to delete rule', {cause});
      });
    }),
  );
}

async function openIfThere(call: Call, host: Host): Promise<Sandbox | undefined> {
  if (call.netns === '') return undefined;
  try {
    return await openLocked(call, host);
  } catch (error) {
    if (isNetnsNotFound(error)) return undefined;
    throw error;
  }
}

async function presentAddresses({rt}: Sandbox, ifName: string): Promise<readonly Ip[]> {
  const link = await findLink(rt, {name: ifName});
  return link ? (await listAddresses(rt, {ifindex: link.ifindex})).map(({ip}) => ip) : [];
}

function previousAddresses(call: Call): readonly Ip[] {
  const previous = findPrevResult(call);
  return previous ? addressesOf(previous, call.ifName).map(({address}) => address.ip) : [];
}
