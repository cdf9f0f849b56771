import {allDone} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {Undo} from '../../lib/cni/undo.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import {NetlinkError, isExists} from '../../lib/netlink/error.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {addRoute, listRoutes, removeRoute} from '../../lib/netlink/route/route.ts';
import type {RouteSpec} from '../../lib/netlink/route/route.ts';
import {addRule, listRules, removeRule} from '../../lib/netlink/route/rule.ts';
import type {Rule} from '../../lib/netlink/route/rule.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import {parseSbrConf} from './conf.ts';
import type {SbrConf} from './conf.ts';
import {openLocked} from './locked.ts';
import {planTables, ruleFor} from './plan.ts';
import type {AddressPlan, Plan} from './plan.ts';

/** What an ADD has at hand. */
interface Work {
  readonly rt: RouteSocket;
  readonly undo: Undo;
  readonly warn: Call['warn'];
}

/**
 * Sends what has the interface's addresses as its source by the interface's routes. A failure at any step takes back
 * the steps before it.
 */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseSbrConf(call);
  using sandbox = await openLocked(call, host);
  await using undo = new Undo(call);
  const work: Work = {rt: sandbox.rt, undo, warn: (message) => call.warn(message)};
  if (conf.table === undefined) await moveRoutes(work, call.ifName, conf);
  else await addRules(work, conf, conf.table);
  undo.commit();
  return conf.previous;
}

/** Only the rules: the routes of a table that the configuration names are there already. */
async function addRules({rt, undo}: Work, {ips}: SbrConf, table: number): Promise<void> {
  const present = await listAllRules(rt);
  for (const ip of ips) {
    const rule = ruleFor(ip, table);
    // A repeated ADD; nobody else has this address.
    if (present.some((each) => each.table === table && each.src && sameCidr(each.src, rule.src))) continue;
    undo.add('remove a rule', () => removeRule(rt, rule));
    await addRule(rt, rule).catch((cause: unknown) => {
      throw new Error('failed to add rule', {cause});
    });
  }
}

async function listAllRules(rt: RouteSocket): Promise<readonly Rule[]> {
  return (await Promise.all([listRules(rt, {family: 4}), listRules(rt, {family: 6})])).flat();
}

async function moveRoutes(work: Work, ifName: string, conf: SbrConf): Promise<void> {
  const {rt} = work;
  const link = await findLink(rt, {name: ifName});
  if (!link) throw new Error(`Cannot find network interface ${ifName}: Link not found`);
  const [rules, routes] = await Promise.all([listAllRules(rt), listRoutes(rt, {table: 0})]);
  const plan = planTables({ifindex: link.ifindex, rules, routes}, conf);
  for (const address of plan.addresses) await fillTable(work, address);
  await clearMain(work, plan);
}

/** The rule comes last: with a table that is half full packets would go astray. */
async function fillTable({rt, undo}: Work, {table, rule, routes}: AddressPlan): Promise<void> {
  // Nobody else has this table, so that what was not added is not there either.
  for (const route of routes) undo.add(`empty table ${table}`, () => removeRoute(rt, route));
  undo.add('remove a rule', () => removeRule(rt, rule));
  await allDone(routes.map((route) => addRoute(rt, route, {mode: 'append'}).catch(explain(route))));
  await addRule(rt, rule).catch((cause: unknown) => {
    throw new Error('Failed to add rule', {cause});
  });
}

function explain(route: RouteSpec): (cause: unknown) => void {
  return (cause) => {
    // Two of the main table that differ in something that is not copied.
    if (isExists(cause)) return;
    const toGateway = route.dst.prefix === 0 && route.gateway;
    const what = toGateway
      ? `Failed to add default route to ${formatIp(toGateway)}`
      : `Failed to readd route: ${formatCidr(route.dst)}`;
    throw new Error(`${what} in table ${route.table}`, {cause});
  };
}

async function clearMain({rt, undo, warn}: Work, {removed, hints}: Plan): Promise<void> {
  for (const route of removed) {
    undo.add('put a route back', () => ensureRoute(rt, route));
    await removeRoute(rt, route).catch((cause: unknown) => {
      throw new Error('Failed to delete route', {cause});
    });
  }
  for (const hint of hints) {
    undo.add('remove a route', () => removeRoute(rt, hint));
    try {
      await addRoute(rt, hint, {mode: 'append'});
    } catch (error) {
      // An address that IPv6 still tests for duplicates is no source yet. As with the reference: traffic that has a
      // source goes its way without.
      if (!(error instanceof NetlinkError) || error.code !== 'EINVAL') throw error;
      warn(`no source hint for ${formatCidr(hint.dst)} in the main table: ${describeFailure(error)}`);
      const before = removed.find((route) => sameCidr(route.dst, hint.dst) && !route.gateway);
      if (before) await ensureRoute(rt, before);
    }
  }
}

async function ensureRoute(rt: RouteSocket, route: RouteSpec): Promise<void> {
  try {
    await addRoute(rt, route, {mode: 'append'});
  } catch (error) {
    if (!isExists(error)) throw error;
  }
}
