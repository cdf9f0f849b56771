import {allDone} from '../../lib/cni/every.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr, sameCidr} from '../../lib/ip/cidr.ts';
import {isExists} from '../../lib/netlink/error.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {addRoute, listRoutes, removeRoute} from '../../lib/netlink/route/route.ts';
import type {RouteSpec} from '../../lib/netlink/route/route.ts';
import {addRule, listRules, removeRule} from '../../lib/netlink/route/rule.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import {parseSbrConf} from './conf.ts';
import type {SbrConf} from './conf.ts';
import {openLocked} from './locked.ts';
import {planTables, ruleFor} from './plan.ts';
import type {AddressPlan, Plan} from './plan.ts';

/** What an ADD has at hand; the undo of every step goes to `later` before it. */
interface Work {
  readonly rt: RouteSocket;
  readonly later: (what: string, step: () => Promise<unknown>) => void;
  readonly warn: Call['warn'];
}

/**
 * Sends what has the interface's addresses as its source by the interface's routes. A failure at any step takes back
 * the steps before it.
 */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseSbrConf(call);
  using sandbox = await openLocked(call, host);
  await using undo = new AsyncDisposableStack();
  const work: Work = {
    rt: sandbox.rt,
    later: (what, step) => undo.defer(() => quietly(call, what, step)),
    warn: (message) => call.warn(message),
  };
  if (conf.table === undefined) await moveRoutes(work, call.ifName, conf);
  else await addRules(work, conf, conf.table);
  undo.move();
  return conf.previous;
}

/** Only the rules: the routes of a table that the configuration names are there already. */
async function addRules({rt, later}: Work, {ips}: SbrConf, table: number): Promise<void> {
  for (const ip of ips) {
    const rule = ruleFor(ip, table);
    try {
      await addRule(rt, rule);
      later('remove a rule', () => removeRule(rt, rule));
    } catch (cause) {
      // A repeated ADD; nobody else has this address.
      if (!isExists(cause)) throw new Error('failed to add rule', {cause});
    }
  }
}

async function moveRoutes(work: Work, ifName: string, conf: SbrConf): Promise<void> {
  const {rt} = work;
  const link = await findLink(rt, {name: ifName});
  if (!link) throw new Error(`Cannot find network interface ${ifName}: Link not found`);
  const [rules4, rules6, routes] = await Promise.all([
    listRules(rt, {family: 4}),
    listRules(rt, {family: 6}),
    listRoutes(rt, {table: 0}),
  ]);
  const plan = planTables({ifindex: link.ifindex, rules: [...rules4, ...rules6], routes}, conf);
  for (const address of plan.addresses) await fillTable(work, address);
  await clearMain(work, plan);
}

/** The rule comes last: with a table that is half full packets would go astray. */
async function fillTable({rt, later}: Work, {table, rule, routes}: AddressPlan): Promise<void> {
  // Nobody else has this table, so that what was not added is not there either.
  for (const route of routes) later(`empty table ${table}`, () => removeRoute(rt, route));
  later('remove a rule', () => removeRule(rt, rule));
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

async function clearMain({rt, later, warn}: Work, {removed, hints}: Plan): Promise<void> {
  for (const route of removed) {
    await removeRoute(rt, route).catch((cause: unknown) => {
      throw new Error('Failed to delete route', {cause});
    });
    later('put a route back', () => addRoute(rt, route, {mode: 'append'}));
  }
  for (const hint of hints) {
    try {
      await addRoute(rt, hint, {mode: 'append'});
      later('remove a route', () => removeRoute(rt, hint));
    } catch (error) {
      // As with the reference: traffic with a source address goes its way without.
      warn(`no source hint for ${formatCidr(hint.dst)} in the main table: ${describeFailure(error)}`);
      const before = removed.find((route) => sameCidr(route.dst, hint.dst) && !route.gateway);
      if (before) await addRoute(rt, before, {mode: 'append'});
    }
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
