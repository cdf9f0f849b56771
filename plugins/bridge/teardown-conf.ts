import {findKey} from '../../lib/cni/shape.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Json, JsonObject} from '../../lib/cni/types.ts';

/** As much of a configuration as removing needs. */
export interface TeardownConf {
  readonly bridge: string;
  readonly ipamType: string | undefined;
  readonly ipMasq: boolean;
  readonly macspoofchk: boolean;
}

/**
 * What DEL and GC read: no more than they need and without complaint. A configuration that no ADD would
 * accept (any longer) must not keep a container's leavings in place; where a value makes no sense, everything
 * that could be there is looked for.
 */
export function parseTeardownConf({conf}: Call): TeardownConf {
  const flag = (key: string) => {
    const value = findKey(conf, key);
    return value === undefined ? false : value !== false;
  };
  const ipam = findKey(conf, 'ipam');
  const type = isObject(ipam) ? findKey(ipam, 'type') : undefined;
  const bridge = findKey(conf, 'bridge');
  return {
    bridge: typeof bridge === 'string' && bridge !== '' ? bridge : 'cni0',
    ipamType: typeof type === 'string' && type !== '' ? type : undefined,
    ipMasq: flag('ipMasq'),
    macspoofchk: flag('macspoofchk'),
  };
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
