import {attrs, message} from '../attrs.ts';
import {s32, u8} from '../codec.ts';
import {struct} from '../struct.ts';
import {afInet, afInet6, rtm, type RouteSocket} from './socket.ts';

/** linux/netconf.h: struct netconfmsg, enum NETCONFA_*. */
export const netconfMessage = message(struct({family: u8}), attrs({ifindex: [1, s32], forwarding: [2, s32]}));

// linux/netconf.h, NETCONFA_IFINDEX_ALL
const allLinks = -1;

/**
 * Whether the namespace forwards packets of a family: net.ipv4.ip_forward, net.ipv6.conf.all.forwarding. NetlinkError
 * EOPNOTSUPP on a kernel without the family.
 */
export async function isForwarding(rt: RouteSocket, family: 4 | 6): Promise<boolean> {
  const reply = await rt.get(
    {
      type: rtm.getNetconf,
      body: (w) =>
        netconfMessage.put(w, {
          header: {family: family === 4 ? afInet : afInet6},
          attributes: {ifindex: allLinks},
        }),
      what: `get forwarding of IPv${family}`,
    },
    ({buffer, start, end}) => netconfMessage.get(buffer, start, end).attributes.forwarding,
  );
  return reply !== undefined && reply !== 0;
}
