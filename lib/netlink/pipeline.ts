import type {NetlinkError} from './error.ts';
import {Flag, type Request} from './message.ts';
import type {Netlink} from './netlink.ts';

/** So many requests travel in one datagram: their acknowledgements fit into the receive buffer many times over. */
const chunkRequests = 256;

/**
 * Sends many changes that do not depend on each other's success, and tells of each how it went: `undefined`, or the
 * error. The kernel carries them out in order. Between chunks the event loop has its turn. Throws what concerns the socket
 * itself.
 */
export async function pipeline(
  socket: Netlink,
  requests: readonly Request[],
): Promise<(NetlinkError | undefined)[]> {
  const errors: (NetlinkError | undefined)[] = [];
  for (let at = 0; at < requests.length; at += chunkRequests) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve));
    const chunk = requests.slice(at, at + chunkRequests);
    const outcomes = await socket.batch(
      chunk.map((request) => ({...request, flags: (request.flags ?? 0) | Flag.ack})),
    );
    for (const {error} of outcomes) errors.push(error);
  }
  return errors;
}
