import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {DiscoveredAttachment} from '../../lib/discovery/attachment-file.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp, type Ip} from '../../lib/ip/address.ts';
import {listAddresses} from '../../lib/netlink/route/address.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {type DiscoveryConf, invalid} from './conf.ts';

/** The result of the plugins before this one; CniError 7 where there is none, or it has no address. */
export function requireAddresses(call: Call): Result {
  const result = findPrevResult(call);
  if (result === undefined) {
    throw invalid(
      'Required prevResult missing',
      `put "${call.conf['type'] as string}" behind the plugin that makes the interface, such as "bridge"`,
    );
  }
  if (result.ips.length === 0) {
    throw invalid('prevResult has no address that could have a name', 'discovery needs a network with ipam');
  }
  return result;
}

/** What the agent is to know of the container. */
export async function describeAttachment(
  host: Host,
  conf: DiscoveryConf,
  result: Result,
): Promise<DiscoveredAttachment> {
  const bridge = result.interfaces.find(({sandbox}) => sandbox === undefined)?.name;
  const {owner, names, domain, internal, intercept, upstreams, ports, texts, ttl} = conf;
  return {
    ...owner,
    names: [...names],
    domain,
    ips: addressesOf(result, owner.ifName).map(formatIp),
    listen: (await findServers(host, bridge, result)).map(formatIp),
    ...(bridge !== undefined && {bridge}),
    internal,
    intercept,
    upstreams: [...upstreams],
    ports,
    texts: [...texts],
    ttl,
  };
}

/** The addresses of the container's interface; of all where the result does not say whose they are. */
function addressesOf({interfaces, ips}: Result, ifName: string): readonly Ip[] {
  const own = ips.filter(({interface: index}) => {
    const link = index === undefined ? undefined : interfaces[index];
    return link === undefined || (link.sandbox !== undefined && link.name === ifName);
  });
  return own.map(({address}) => address.ip);
}

const globalScope = 0;

/** Where the container finds the server: the host's addresses on the bridge, or else its gateways. */
async function findServers({rt}: Host, bridge: string | undefined, {ips}: Result): Promise<readonly Ip[]> {
  const link = bridge === undefined ? undefined : await findLink(rt, {name: bridge});
  if (link?.info?.kind === 'bridge') {
    const addresses = await listAddresses(rt, {ifindex: link.ifindex});
    const own = addresses.filter(({scope}) => scope === globalScope).map(({ip}) => ip);
    if (own.length > 0) return own;
  }
  const gateways = ips.map(({gateway}) => gateway).filter((ip) => ip !== undefined);
  return [...new Map(gateways.map((ip) => [formatIp(ip), ip])).values()];
}
