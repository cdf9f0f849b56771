import {findKey} from '../../lib/cni/shape.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';
import {parseIp} from '../../lib/ip/address.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {firstOf} from './gateway.ts';

/**
 * The gateways of every range that an IPAM configuration in host-local's form names. Containers of one network
 * may have different ones, and all of them belong on the bridge. What cannot be read is IPAM's to complain of.
 */
export function rangeGateways(conf: JsonObject): readonly Cidr[] {
  const ipam = asObject(findKey(conf, 'ipam'));
  const runtimeConfig = asObject(findKey(conf, 'runtimeConfig'));
  const sets = [findKey(ipam, 'ranges'), findKey(runtimeConfig, 'ipRanges'), [ipam]];
  return sets
    .flatMap((set) => asList(set))
    .flatMap((range) => asList(range).concat(Array.isArray(range) ? [] : [range]))
    .flatMap((range) => gatewayOfRange(asObject(range)));
}

function gatewayOfRange(range: JsonObject): readonly Cidr[] {
  const subnet = findKey(range, 'subnet');
  const cidr = typeof subnet === 'string' ? parseCidr(subnet) : undefined;
  if (!cidr) return [];
  const gateway = findKey(range, 'gateway');
  const ip = typeof gateway === 'string' && gateway !== '' ? parseIp(gateway) : firstOf(cidr);
  return ip ? [{ip, prefix: cidr.prefix}] : [];
}

function asObject(json: Json | undefined): JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as JsonObject) : {};
}

function asList(json: Json | undefined): readonly Json[] {
  return Array.isArray(json) ? json : [];
}
