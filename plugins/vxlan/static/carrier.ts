import {familyOf, sameIp} from '../../../lib/ip/address.ts';
import type {Host} from '../../../lib/host.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import type {Carrier} from '../../../lib/overlay/state.ts';
import type {Address} from '../../../lib/netlink/route/address.ts';
import {iff} from '../../../lib/netlink/link/common.ts';
import {findLink} from '../../../lib/netlink/route/link.ts';
import {getRoute} from '../../../lib/netlink/route/route.ts';
import {listUnderlay, type Identity} from './self.ts';

/** The interface with this host's address, which carries the tunnels. Throws a sentence where there is none. */
export async function getCarrier(
  host: Host,
  {self, peers}: Identity,
  addresses: readonly Address[],
): Promise<Carrier> {
  const found = self.underlay.flatMap((ip) => addresses.find((own) => sameIp(own.ip, ip)) ?? []);
  const [first] = found;
  const link = first && (await findLink(host.rt, {ifindex: first.ifindex}));
  if (!link) {
    throw new Error(
      `this host is "${self.id}", but no interface has its address ${listUnderlay(self)}; ` +
        'correct publicIP in "static", or give the host that address',
    );
  }
  const own = found.filter(({ifindex}) => ifindex === link.ifindex).map(({ip}) => ip);
  if ((link.flags & iff.loopback) === 0) return {ifindex: link.ifindex, mtu: link.mtu, addresses: own};
  // An address of the host as a whole: tunnels follow the routes, and so does their MTU.
  const way = await linkTo(host, peers, own);
  return {ifindex: link.ifindex, mtu: way?.mtu ?? 1500, addresses: own, bind: false};
}

async function linkTo(host: Host, peers: readonly Member[], own: Carrier['addresses']) {
  const families = own.map(familyOf);
  const dst = peers.flatMap(({underlay}) => underlay).find((ip) => families.includes(familyOf(ip)));
  if (!dst) return undefined;
  const route = await getRoute(host.rt, {dst}).catch(() => undefined);
  return route?.ifindex === undefined ? undefined : findLink(host.rt, {ifindex: route.ifindex});
}
