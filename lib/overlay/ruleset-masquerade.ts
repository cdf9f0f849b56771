import {familyOf, type Family} from '../ip/address.ts';
import {parseCidr, type Cidr} from '../ip/cidr.ts';
import {compareProtocol, compareSubnet} from '../netlink/nft/match.ts';
import type {Statement} from '../netlink/nft/rule.ts';
import {matchAddress, matchMarkBit, verdict} from '../netlink/nft/statement.ts';
import {masqueradeAs} from '../netlink/nft/tunnel.ts';
import type {OverlayNetwork} from './member.ts';
import type {RulesetOptions} from './ruleset.ts';

type Rules = readonly (readonly Statement[])[];

/** What kube-proxy marks packets with that it masquerades itself. */
const kubeProxyMark = 0x4000;
const multicast: Readonly<Record<Family, Cidr>> = {4: parseCidr('224.0.0.0/4')!, 6: parseCidr('ff00::/8')!};
const firstPort = 1024;
const lastPort = 65_535;
const back = verdict({kind: 'return'});

/** The rules of a network's chain `postrouting`; none where nothing is masqueraded. */
export function planMasquerade(
  {ranges, port}: OverlayNetwork,
  subnets: readonly Cidr[],
  {masquerade}: RulesetOptions,
): Rules {
  if (!masquerade) return [];
  const {exempt = [], fullyRandom = true} = masquerade;
  const ways = [
    // A flow that got the tunnel's port would have its answers taken for the tunnel's.
    [compareProtocol('==', 'udp'), masqueradeAs({ports: portsBeside(port), fullyRandom})],
    [masqueradeAs({fullyRandom})],
  ];
  const perFamily = ([4, 6] as const).flatMap((family): (readonly Statement[])[] => {
    const range = ranges.find(({ip}) => familyOf(ip) === family);
    const subnet = subnets.find(({ip}) => familyOf(ip) === family);
    if (!range || !subnet) return [];
    const beside = [range, ...exempt.filter(({ip}) => familyOf(ip) === family), multicast[family]];
    const from = matchAddress('saddr', subnet);
    const strange = compareOutside(range);
    return [
      ...beside.map((to) => [from, matchAddress('daddr', to), back]),
      ...ways.map((way) => [from, ...way]),
      // The host's other addresses and other containers': answers have to come back this way.
      ...(strange
        ? [
            [strange, matchAddress('daddr', subnet), back],
            ...ways.map((way) => [strange, matchAddress('daddr', range), ...way]),
          ]
        : []),
    ];
  });
  return perFamily.length === 0 ? [] : [[matchMarkBit(kubeProxyMark), back], ...perFamily];
}

function compareOutside(range: Cidr): Statement | undefined {
  return range.prefix === 0 ? undefined : compareSubnet('saddr', '!=', range);
}

/** The larger part of the unprivileged ports without one. */
function portsBeside(port: number): {readonly first: number; readonly last: number} {
  const [below, above] = [port - firstPort, lastPort - port];
  return above >= below
    ? {first: Math.max(port + 1, firstPort), last: lastPort}
    : {first: firstPort, last: port - 1};
}
