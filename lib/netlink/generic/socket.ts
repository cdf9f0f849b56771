import {array, attrs, message} from '../attrs.ts';
import {string, u16, u32, u8} from '../codec.ts';
import {NetlinkError} from '../error.ts';
import type {Netlink} from '../netlink.ts';
import {NetlinkSocket} from '../socket.ts';
import {struct} from '../struct.ts';

// linux/netlink.h
const netlinkGeneric = 16;
const enoent = 2;

/** A socket of NETLINK_GENERIC in one network namespace; opened in the one that the thread is in. */
export function openGenericSocket({timeoutMs = 5000}: {readonly timeoutMs?: number} = {}): NetlinkSocket {
  return new NetlinkSocket({protocol: netlinkGeneric, timeoutMs});
}

/** struct genlmsghdr of linux/genetlink.h: what every message of a family begins with. */
export const genlmsghdr = struct({command: u8, version: u8, reserved: u16});

// linux/genetlink.h: the family that knows the others, its commands and enum CTRL_ATTR_*.
const control = {family: 16, getFamily: 3} as const;
const controlMessage = message(
  genlmsghdr,
  attrs({
    id: [1, u16],
    name: [2, string],
    version: [3, u32],
    operations: [6, array(attrs({id: [1, u32], flags: [2, u32]}))],
  }),
);

/**
 * The number that the kernel gave a family ("wireguard"), the type of its messages. NetlinkError ENOENT where it has no such
 * family; asking loads the module where that is possible.
 */
export function getFamily(socket: Netlink, name: string): Promise<number> {
  const what = `find the netlink family ${name}`;
  return socket.get(
    {
      type: control.family,
      body: (w) =>
        controlMessage.put(w, {header: {command: control.getFamily, version: 1}, attributes: {name}}),
      what,
    },
    ({buffer, start, end}) => {
      const {id} = controlMessage.get(buffer, start, end).attributes;
      if (id === undefined) throw new NetlinkError(what, enoent);
      return id;
    },
  );
}
