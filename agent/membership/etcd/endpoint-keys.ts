import {formatIp} from '../../../lib/ip/address.ts';
import type {Endpoint} from '../../../lib/overlay/member.ts';
import {formatEndpoint} from './members.ts';
import type {KeyValue, Operation} from '../../etcd/wire.ts';

/** What brings the keys of this host's containers from what is there to what is wanted. */
export function planEndpoints(
  wanted: readonly Endpoint[],
  there: readonly KeyValue[],
  {prefix, lease}: {readonly prefix: string; readonly lease: string},
): readonly Operation[] {
  const values = new Map(
    wanted
      .filter(({ips}) => ips.length > 0)
      .map((endpoint) => [`${prefix}${formatIp(endpoint.ips[0]!)}`, formatEndpoint(endpoint)]),
  );
  const known = new Map(there.map((kv) => [kv.key, kv]));
  return [
    ...there.filter(({key}) => !values.has(key)).map(({key}): Operation => ({remove: key})),
    ...[...values]
      .filter(([key, value]) => known.get(key)?.value !== value || known.get(key)?.lease !== lease)
      .map(([key, value]): Operation => ({put: key, value, lease})),
  ];
}
