import {findKey} from '../../lib/cni/shape.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';
import {parseIp} from '../../lib/ip/address.ts';
import {portProtocols} from '../../lib/netlink/nft/match.ts';
import type {PortProtocol} from '../../lib/netlink/nft/match.ts';
import {planHostIp} from './mapping.ts';
import type {Mapping} from './mapping.ts';

/**
 * The mappings that a DEL is told of, without complaint: a configuration that no ADD would accept (any longer) must not
 * keep anything in place. What is not told is found by its owner.
 */
export function findMappings({conf}: Call): Mapping[] {
  const config = asObject(findKey(conf, 'runtimeConfig'));
  const list = config && findKey(config, 'portMappings');
  return Array.isArray(list) ? list.flatMap((entry: Json) => readMapping(asObject(entry))) : [];
}

function readMapping(entry: JsonObject | undefined): Mapping[] {
  if (!entry) return [];
  const [hostPort, containerPort, protocol, hostIP] = ['hostPort', 'containerPort', 'protocol', 'hostIP'].map(
    (key) => findKey(entry, key),
  );
  const name = (typeof protocol === 'string' && protocol !== '' ? protocol : 'tcp').toLowerCase();
  const ip = typeof hostIP === 'string' && hostIP !== '' ? parseIp(hostIP) : undefined;
  if (!isPort(hostPort) || !Object.hasOwn(portProtocols, name)) return [];
  return [
    {
      protocol: name as PortProtocol,
      hostPort,
      containerPort: isPort(containerPort) ? containerPort : 0,
      ...planHostIp(ip),
    },
  ];
}

function isPort(value: Json | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_535;
}

function asObject(value: Json | undefined): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined;
}
