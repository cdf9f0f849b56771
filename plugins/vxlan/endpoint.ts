import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import {endpointDirectory, findEndpoint, writeEndpoint} from '../../lib/overlay/endpoint-file.ts';
import type {Endpoint} from '../../lib/overlay/member.ts';
import type {VxlanPlaces} from './conf.ts';

/** Tells the agent what other hosts need to know of a container of an `l2` network. */
export function publishEndpoint({network, runDir, owner}: VxlanPlaces, result: Result): void {
  const endpoint = endpointOf(result, owner.ifName);
  if (!endpoint) throw new Error(`the delegate's result says no hardware address of "${owner.ifName}"`);
  writeEndpoint(endpointDirectory(network, runDir), owner, endpoint);
}

/** `undefined` where a result says too little, as those of the oldest versions do. */
function endpointOf({interfaces, ips}: Result, ifName: string): Endpoint | undefined {
  const index = interfaces.findIndex(({name, sandbox}) => name === ifName && sandbox !== undefined);
  const mac = interfaces[index]?.mac;
  if (mac === undefined) return undefined;
  const own = ips.filter((ip) => ip.interface === undefined || ip.interface === index);
  return {mac, ips: own.map(({address}) => address.ip)};
}

/** Throws where the agent was told something else than what the container has, or nothing. */
export function checkEndpoint(call: Call, {network, runDir, owner}: VxlanPlaces): void {
  const previous = findPrevResult(call);
  const wanted = previous && endpointOf(previous, owner.ifName);
  if (!wanted) return;
  const found = findEndpoint(endpointDirectory(network, runDir), owner);
  const isSame =
    found?.mac === wanted.mac &&
    found.ips.length === wanted.ips.length &&
    wanted.ips.every((ip) => found.ips.some((other) => sameIp(ip, other)));
  if (isSame) return;
  throw new Error(
    `endpoint ${wanted.ips.map(formatIp).join(', ')} (${wanted.mac}) is not published: containers of other hosts do not find it`,
  );
}
