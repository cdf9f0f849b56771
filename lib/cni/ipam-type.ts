import {findKey} from './shape.ts';
import type {Call} from './plugin.ts';
import type {JsonObject} from './types.ts';

/**
 * The type of the IPAM plugin, read without complaint: all that DEL and GC need of a configuration. One that no ADD would
 * accept (any longer) must not keep a container's leavings in place, so the rest is looked for whatever it says.
 */
export function findIpamType({conf}: Call): string | undefined {
  const ipam = findKey(conf, 'ipam');
  if (typeof ipam !== 'object' || ipam === null || Array.isArray(ipam)) return undefined;
  const type = findKey(ipam as JsonObject, 'type');
  return typeof type === 'string' && type !== '' ? type : undefined;
}
