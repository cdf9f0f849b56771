import {sortKeys} from '../../lib/cni/json.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';
import {isAtLeast} from '../../lib/cni/versions.ts';
import {formatIp, ipFromValue, familyOf} from '../../lib/ip/address.ts';
import {containsIp, formatCidr, lastOf, networkOf, subnetOf, type Cidr} from '../../lib/ip/cidr.ts';
import type {DelegateTemplate} from './conf.ts';

/** What this host has of an overlay network. */
export interface HostNetwork {
  readonly form: 'routed' | 'l2';
  /** The ranges of the whole overlay. */
  readonly networks: readonly Cidr[];
  /** This host's subnets (`routed`) or ranges (`l2`), at most one per family. */
  readonly subnets: readonly Cidr[];
  readonly mtu: number;
  /** Whether the delegate is to masquerade. */
  readonly ipMasq: boolean;
  /** The bridge of an `l2` network. */
  readonly bridge?: string | undefined;
}

/**
 * The delegate's configuration: what the user wrote under `delegate`, completed as flannel's plugin completes it. Keys in any
 * case count as written. `undefined` for `host`: only what does not depend on it, which is enough for a DEL.
 */
export function renderDelegate(template: DelegateTemplate, host: HostNetwork | undefined): JsonObject {
  const {name, cniVersion, type, delegate, runtimeConfig, logging} = template;
  const defaults: Record<string, Json> = {type, ...logging};
  if (host) Object.assign(defaults, defaultsOf(type, host));
  const missing = Object.entries(defaults).filter(([key]) => findKey(delegate, key) === undefined);
  return sortKeys({
    ...delegate,
    ...Object.fromEntries(missing),
    name,
    ...(cniVersion !== undefined && {cniVersion: delegateVersion(cniVersion, host)}),
    ...(runtimeConfig && {runtimeConfig}),
    ipam: renderIpam(template, host),
  }) as JsonObject;
}

/** Results of the two oldest versions do not say the hardware address, which other hosts need to know of an endpoint. */
function delegateVersion(version: string, host: HostNetwork | undefined): string {
  return host?.form === 'l2' && !isAtLeast(version, '0.3.0') ? '0.4.0' : version;
}

function defaultsOf(type: string, host: HostNetwork): Record<string, Json> {
  const {form, ipMasq, mtu, bridge} = host;
  return {
    ipMasq,
    mtu,
    ...(type === 'bridge' && {isGateway: true}),
    ...(form === 'l2' && bridge !== undefined && {bridge}),
  };
}

function renderIpam({ipam}: DelegateTemplate, host: HostNetwork | undefined): JsonObject {
  const type = findKey(ipam, 'type') ?? 'host-local';
  if (!host) return {...ipam, type};
  const routes = findKey(ipam, 'routes');
  const given = Array.isArray(routes) ? (routes as readonly Json[]) : [];
  const {form, networks, subnets} = host;
  // In one subnet everybody is on the link.
  const own = form === 'routed' ? networks.map((cidr) => ({dst: formatCidr(subnetOf(cidr))})) : [];
  const ranges = subnets.map((subnet) => [form === 'routed' ? subnetRange(subnet) : partRange(subnet, host)]);
  return {...ipam, type, ranges, routes: [...given, ...own]};
}

function subnetRange(subnet: Cidr): JsonObject {
  return {subnet: formatCidr(subnetOf(subnet))};
}

/** This host's part of the one subnet; its first address, the gateway, is the same on every host. */
function partRange(part: Cidr, {networks}: HostNetwork): JsonObject {
  const whole = networks.find((network) => containsIp(network, part.ip)) ?? part;
  const family = familyOf(part.ip);
  const network = networkOf(whole);
  const gateway = ipFromValue(family, network.value + 1n);
  const [first, last] = [networkOf(part), lastOf(part)];
  const start = first.value <= gateway.value ? ipFromValue(family, gateway.value + 1n) : first;
  // The last of an IPv4 subnet is its broadcast address.
  const isBroadcast = family === 4 && last.value === lastOf(whole).value;
  const end = isBroadcast ? ipFromValue(family, last.value - 1n) : last;
  return {
    subnet: formatCidr(subnetOf(whole)),
    rangeStart: formatIp(start),
    rangeEnd: formatIp(end),
    gateway: formatIp(gateway),
  };
}

/** The subnets that a rendered configuration takes addresses from, as text; undefined if it does not say. */
export function rangesOf(rendered: JsonObject): string | undefined {
  const ipam = findKey(rendered, 'ipam');
  if (typeof ipam !== 'object' || ipam === null || Array.isArray(ipam)) return undefined;
  const ranges = findKey(ipam as JsonObject, 'ranges');
  return ranges === undefined ? undefined : JSON.stringify(sortKeys(ranges));
}
