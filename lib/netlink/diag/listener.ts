import {ipFromBytes} from '../../ip/address.ts';
import type {Family, Ip} from '../../ip/address.ts';
import {u16be, u32, u8} from '../codec.ts';
import type {Netlink} from '../netlink.ts';
import {NetlinkSocket} from '../socket.ts';
import {struct} from '../struct.ts';

// Sockets of processes: linux/sock_diag.h, linux/inet_diag.h.

// linux/netlink.h
const netlinkSockDiag = 4;
const sockDiagByFamily = 20;
// linux/socket.h
const addressFamilies = {4: 2, 6: 10} as const;
const protocols = {tcp: 6, udp: 17} as const;
/** Bits of states (linux/tcp_states.h): a TCP socket that listens, a UDP socket without a peer. */
const waiting = {tcp: 1 << 10, udp: 1 << 7} as const;

/** struct inet_diag_req_v2, up to the ports of its struct inet_diag_sockid, whose addresses are not compared. */
export const diagRequest = struct({
  family: u8,
  protocol: u8,
  extensions: u8,
  padding: u8,
  states: u32,
  srcPort: u16be,
  dstPort: u16be,
});
const requestBytes = 56;
/** Where struct inet_diag_msg has the port and the address: behind four bytes. */
const portOffset = 4;
const addressOffset = 8;

/** Opens a socket for such questions in the namespace that the calling thread is in. */
export function openDiagSocket({timeoutMs = 5000}: {readonly timeoutMs?: number} = {}): NetlinkSocket {
  return new NetlinkSocket({protocol: netlinkSockDiag, timeoutMs});
}

/** A process's socket that takes what is sent to a port; an address of zeros is any. */
export interface Listener {
  readonly ip: Ip;
  readonly port: number;
}

/** The sockets that wait for anybody's packets: all, or those of one port; the kernel does the choosing. */
export function listListeners(
  socket: Netlink,
  {
    family,
    protocol,
    port = 0,
  }: {readonly family: Family; readonly protocol: 'tcp' | 'udp'; readonly port?: number},
): Promise<Listener[]> {
  return socket.dump(
    {
      type: sockDiagByFamily,
      what: `list sockets of ${protocol}`,
      body(w) {
        diagRequest.putPart(w, {
          family: addressFamilies[family],
          protocol: protocols[protocol],
          states: waiting[protocol],
          srcPort: port,
        });
        w.append(Buffer.alloc(requestBytes - diagRequest.size));
      },
    },
    ({buffer, start}) => ({
      port: buffer.readUInt16BE(start + portOffset),
      ip: ipFromBytes(
        Buffer.from(buffer.subarray(start + addressOffset, start + addressOffset + (family === 4 ? 4 : 16))),
      ),
    }),
  );
}
