import {everyStep} from '../../lib/cni/every.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {IpConfig} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {familyOf, formatIp, sameIp} from '../../lib/ip/address.ts';
import {formatCidr, isDefault, sameCidr, subnetOf} from '../../lib/ip/cidr.ts';
import {getLink} from '../../lib/netlink/route/link.ts';
import {listRoutes} from '../../lib/netlink/route/route.ts';
import type {Route} from '../../lib/netlink/route/route.ts';
import {listRules} from '../../lib/netlink/route/rule.ts';
import type {Rule} from '../../lib/netlink/route/rule.ts';
import {parseSbrConf} from './conf.ts';
import type {SbrConf} from './conf.ts';
import {ruleFor} from './plan.ts';

const mainTable = 254;

interface Found {
  readonly rules: readonly Rule[];
  /** Of the interface, of all tables. */
  readonly routes: readonly Route[];
}

/**
 * Throws everything that is missing: rules, the ways out in their tables, hints. What is in the main table besides may
 * be the work of later plugins, or of a router that announces itself.
 */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseSbrConf(call);
  using sandbox = host.sandbox(call.netns);
  const {rt} = sandbox;
  const {ifindex} = await getLink(rt, {name: call.ifName});
  const [rules4, rules6, routes] = await Promise.all([
    listRules(rt, {family: 4}),
    listRules(rt, {family: 6}),
    listRoutes(rt, {table: 0, ifindex}),
  ]);
  const found = {rules: [...rules4, ...rules6], routes};
  const steps = conf.ips.map((ip) => () => checkAddress(ip, conf, found));
  const hasHints = conf.table === undefined && conf.addSourceHints;
  await everyStep(hasHints ? [...steps, () => checkHints(conf, found)] : steps);
}

async function checkAddress(ip: IpConfig, conf: SbrConf, {rules, routes}: Found): Promise<void> {
  const {src} = ruleFor(ip, 0);
  const rule = rules.find(
    (each) => each.src && sameCidr(each.src, src) && (conf.table === undefined || each.table === conf.table),
  );
  const address = formatIp(ip.address.ip);
  if (!rule) {
    throw new Error(
      `rule from ${address} lookup ${conf.table ?? 'a table of its own'} is missing; attach it again`,
    );
  }
  if (conf.table !== undefined) return;
  const family = familyOf(ip.address.ip);
  const gateway = conf.gateways.find((each) => familyOf(each) === family) ?? ip.gateway;
  const inTable = routes.filter(({table, dst}) => table === rule.table && familyOf(dst.ip) === family);
  if (gateway && !inTable.some(({dst}) => isDefault(dst))) {
    throw new Error(
      `default route by ${formatIp(gateway)} is missing in table ${rule.table}, for ${address}`,
    );
  }
  if (inTable.length === 0) throw new Error(`table ${rule.table}, for ${address}, is empty`);
}

async function checkHints({ips}: SbrConf, {routes}: Found): Promise<void> {
  const main = routes.filter(({table}) => table === mainTable);
  for (const {address} of ips) {
    const dst = subnetOf(address);
    // Of several addresses in one subnet one is the hint.
    const isHint = (route: Route) =>
      sameCidr(route.dst, dst) && ips.some((ip) => sameIp(ip.address.ip, route.src));
    if (!main.some(isHint))
      throw new Error(`the main table has no route to ${formatCidr(dst)} with a source`);
  }
}
