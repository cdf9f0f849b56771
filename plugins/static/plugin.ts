import type {Call, Plugin} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import {parseStaticConf} from './conf.ts';

/** An IPAM plugin that gives the addresses somebody else chose; README.md is its user's page. */
export const plugin: Plugin<Host> = {name: 'static', versions: specVersions, add, del, check, gc, status};

async function add(call: Call): Promise<Result> {
  return {interfaces: [], ...parseStaticConf(call)};
}

/** Nothing is kept of an attachment, so that there is nothing to give back. */
async function del(): Promise<void> {}

/** An address of the configuration that the container has must have come with the configured gateway. */
async function check(call: Call): Promise<void> {
  const {ips} = parseStaticConf(call);
  const previous = findPrevResult(call);
  if (!previous) throw new Error('Required prevResult missing');
  for (const {address, gateway} of ips) {
    const found = previous.ips.find((ip) => sameIp(ip.address.ip, address.ip));
    if (!gateway || !found || sameIp(found.gateway, gateway)) continue;
    const has = found.gateway ? formatIp(found.gateway) : 'none';
    throw new Error(
      `static: Failed to match addr ${formatIp(address.ip)} on interface ${call.ifName}: ` +
        `its gateway is ${formatIp(gateway)} by the configuration, ${has} by prevResult`,
    );
  }
}

async function gc(): Promise<void> {}

async function status(): Promise<void> {}
