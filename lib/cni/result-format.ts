import {familyOf, formatIp} from '../ip/address.ts';
import {formatCidr} from '../ip/cidr.ts';
import {formatJson, sortKeys} from './json.ts';
import type {Dns, IpConfig, Json, JsonObject, Result, Route} from './types.ts';
import {isAtLeast} from './versions.ts';

/** A result as a plugin prints it, byte for byte as the reference does, in any version. */
export function formatResult(result: Result, version: string): string {
  return formatJson(resultJson(result, version));
}

/**
 * A result in the form of `version`, with the order of keys that the reference prints. Throws
 * `cannot convert: no valid IP addresses` where 0.1.0 or 0.2.0 must say what they have no words for.
 */
export function resultJson(result: Result, version: string): JsonObject {
  if (isAtLeast(version, '1.0.0')) return sortKeys(currentJson(result, version)) as JsonObject;
  return isAtLeast(version, '0.3.0') ? olderJson(result, version) : legacyJson(result, version);
}

function currentJson(result: Result, cniVersion: string): JsonObject {
  const dns = dnsJson(result.dns);
  return pick({
    cniVersion,
    interfaces: listOrNone(
      result.interfaces.map(({name, mac, mtu, sandbox, socketPath, pciID}) => ({
        name,
        ...pickFilled({mac, mtu, sandbox, socketPath, pciID}),
      })),
    ),
    ips: listOrNone(result.ips.map(ipJson)),
    routes: listOrNone(result.routes.map(routeJson)),
    dns: Object.keys(dns).length > 0 ? dns : undefined,
  });
}

/** 0.3.0 to 0.4.0: fewer keys of interfaces, the family of addresses spelled out, `dns` always. */
function olderJson(result: Result, cniVersion: string): JsonObject {
  return pick({
    cniVersion,
    interfaces: listOrNone(
      result.interfaces.map(({name, mac, sandbox}) => ({name, ...pickFilled({mac, sandbox})})),
    ),
    ips: listOrNone(result.ips.map((ip) => ({version: String(familyOf(ip.address.ip)), ...ipJson(ip)}))),
    routes: listOrNone(result.routes.map(routeJson)),
    dns: dnsJson(result.dns),
  });
}

/** 0.1.0 and 0.2.0: one address per family, routes beside the address of their family. */
function legacyJson(result: Result, cniVersion: string): JsonObject {
  const ip4 = legacyIpJson(result, 4);
  const ip6 = legacyIpJson(result, 6);
  if (!ip4 && !ip6) throw new Error('cannot convert: no valid IP addresses');
  return pick({cniVersion, ip4, ip6, dns: dnsJson(result.dns)});
}

function legacyIpJson({ips, routes}: Result, family: 4 | 6): JsonObject | undefined {
  const ip = ips.find(({address}) => familyOf(address.ip) === family);
  if (!ip) return undefined;
  const own = routes.filter(({dst}) => familyOf(dst.ip) === family);
  return pick({
    ip: formatCidr(ip.address),
    gateway: ip.gateway && formatIp(ip.gateway),
    routes: listOrNone(own.map(({dst, gw}) => pick({dst: formatCidr(dst), gw: gw && formatIp(gw)}))),
  });
}

function ipJson({interface: index, address, gateway}: IpConfig): JsonObject {
  return pick({interface: index, address: formatCidr(address), gateway: gateway && formatIp(gateway)});
}

/** `table` and `scope` may be 0; for the other numbers 0 means unset. */
function routeJson({dst, gw, mtu, advmss, priority, table, scope}: Route): JsonObject {
  return {
    ...pick({dst: formatCidr(dst), gw: gw && formatIp(gw)}),
    ...pickFilled({mtu, advmss, priority}),
    ...pick({table, scope}),
  };
}

function dnsJson({nameservers, domain, search, options}: Dns): JsonObject {
  return pick({
    nameservers: listOrNone(nameservers ?? []),
    domain: domain === '' ? undefined : domain,
    search: listOrNone(search ?? []),
    options: listOrNone(options ?? []),
  });
}

function listOrNone(list: readonly Json[]): readonly Json[] | undefined {
  return list.length > 0 ? list : undefined;
}

function pick(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as JsonObject;
}

/** Without what Go's omitempty leaves out: "" and 0. */
function pickFilled(members: Readonly<Record<string, Json | undefined>>): JsonObject {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => Boolean(value))) as JsonObject;
}
