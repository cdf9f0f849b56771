import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Host} from '../../lib/host.ts';
import {parseMac} from '../../lib/ip/mac.ts';
import {masqueradeParts} from '../../lib/nat/masquerade-repair.ts';
import {repairOf} from '../../lib/nat/repair.ts';
import type {Part} from '../../lib/nat/repair.ts';
import {parseBridgeConf} from './conf.ts';
import type {BridgeConf} from './conf.ts';
import {checkMacSpoofCheck, ensureMacSpoofCheck, planMacSpoofRemoval} from './macspoof.ts';

export const repair = repairOf((call, host) => {
  const conf = parseBridgeConf(call);
  return [
    ...(conf.ipamType === undefined ? [] : masqueradeParts(call, host, conf)),
    ...(conf.macspoofchk ? filterParts(call, host, conf) : []),
  ];
});

/** The filter of source addresses: the container's link and the host's end of it are those that the ADD named. */
function filterParts(call: Call, host: Host, {owner, bridge}: BridgeConf): Part[] {
  const {interfaces = []} = findPrevResult(call) ?? {};
  const own = interfaces.findIndex(({name, sandbox}) => name === call.ifName && sandbox);
  const port = interfaces
    .slice(0, Math.max(own, 0))
    .findLast(({name, sandbox}) => !sandbox && name !== bridge);
  const mac = parseMac(interfaces[own]?.mac ?? '');
  if (!port || mac === undefined) return [];
  const wanted = {hostVeth: port.name, mac};
  return [
    {
      async missing() {
        try {
          await checkMacSpoofCheck(host, owner, wanted);
          return [];
        } catch (error) {
          return [(error as Error).message];
        }
      },
      restore: () => ensureMacSpoofCheck(host, owner, wanted),
      planRemoval: () => planMacSpoofRemoval(host, owner),
    },
  ];
}
