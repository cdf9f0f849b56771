import type {Result} from '../../lib/cni/types.ts';
import {formatIp} from '../../lib/ip/address.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {bridgeOf} from './conf.ts';
import type {FirewallConf} from './conf.ts';
import type {Wanted} from './nft.ts';
import type {Known} from './removal.ts';

/** What a configuration wants for the result of the plugins before this one. */
export function wantedOf(conf: FirewallConf, result: Result): Wanted {
  const {owner, adminChain, mark, policy} = conf;
  const {ips, ports} = knownOf(result);
  const bridge = policy && bridgeOf(policy, result);
  const isolation =
    policy && bridge !== undefined
      ? {policy, bridge, ports: policy === 'isolated' ? ports.filter((name) => name !== bridge) : []}
      : undefined;
  return {owner, ips, adminChain, mark, isolation};
}

/** All addresses of the result, as the reference does, and the links of it that are on the host. */
export function knownOf({ips, interfaces}: Result): Known {
  const unique = new Map(ips.map(({address}) => [formatIp(address.ip), address.ip]));
  return {
    ips: [...unique.values()],
    ports: interfaces.filter(({name, sandbox}) => !sandbox && name !== '').map(({name}) => name),
  };
}

/** Addresses without those given. */
export function without(ips: readonly Ip[], others: readonly Ip[]): Ip[] {
  const left = new Set(others.map(formatIp));
  return ips.filter((ip) => !left.has(formatIp(ip)));
}
