import {NetlinkError} from './error.ts';
import {Flag, type Request} from './message.ts';
import type {Netlink} from './netlink.ts';

/** So many requests travel in one datagram: if all of them are refused, the answers fit into the receive buffer. */
const chunkRequests = 256;

/**
 * Sends many changes that do not depend on each other's success, and tells of each how it went: `undefined`, or the
 * error. The kernel carries them out in order. Between chunks the event loop has its turn. When the socket fails, all
 * that is left has that error.
 */
export async function pipeline(
  socket: Netlink,
  requests: readonly Request[],
): Promise<(NetlinkError | undefined)[]> {
  const errors: (NetlinkError | undefined)[] = [];
  for (let at = 0; at < requests.length; at += chunkRequests) {
    if (at > 0) await new Promise((resolve) => setImmediate(resolve));
    const chunk = requests.slice(at, at + chunkRequests);
    const last = chunk.length - 1;
    // A refusal is always told. They are carried out in order, so when the last is acknowledged, those before it were done.
    const asked = chunk.map((request, i) =>
      i === last ? {...request, flags: (request.flags ?? 0) | Flag.ack} : request,
    );
    try {
      for (const {error} of await socket.batch(asked, {independent: true})) errors.push(error);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      for (const _ of chunk) errors.push(error);
    }
  }
  return errors;
}
