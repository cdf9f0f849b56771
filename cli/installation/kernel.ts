import {NetlinkError} from '../../lib/netlink/error.ts';
import {Flag} from '../../lib/netlink/message.ts';
import {getGeneration} from '../../lib/netlink/nft/transaction.ts';
import {openNetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {linkMessage} from '../../lib/netlink/route/link.ts';
import {openRouteSocket, rtm} from '../../lib/netlink/route/socket.ts';

/** Whether the kernel has something: 'unknown' where we may not ask. */
export type Presence = 'present' | 'absent' | 'unknown';

/** More transmit queues than a link can have: the kernel looks for the kind, loads its module, and then refuses. */
const tooManyQueues = 5000;

/**
 * Asks the kernel for a kind of link without making one: a kind that it does not know is EOPNOTSUPP, one it knows is
 * EINVAL because of the queues.
 */
export async function probeLinkKind(kind: string): Promise<Presence> {
  const rt = openRouteSocket();
  try {
    await rt.request({
      type: rtm.newLink,
      flags: Flag.create | Flag.exclusive,
      body: (w) =>
        linkMessage.put(w, {
          attributes: {
            txQueues: tooManyQueues,
            linkInfo: {info: {kind: 'other', name: kind, raw: undefined}},
          },
        }),
      what: `ask for links of kind ${kind}`,
    });
    return 'present';
  } catch (error) {
    return presenceOf(error, {present: ['EINVAL', 'ERANGE'], absent: ['EOPNOTSUPP']});
  } finally {
    rt.close();
  }
}

/** Whether nf_tables is there. */
export async function probeNftables(): Promise<Presence> {
  try {
    const nft = openNetfilterSocket();
    try {
      await getGeneration(nft);
      return 'present';
    } finally {
      nft.close();
    }
  } catch (error) {
    return presenceOf(error, {present: [], absent: ['EINVAL', 'EOPNOTSUPP', 'EPROTONOSUPPORT', 'ENOENT']});
  }
}

function presenceOf(
  error: unknown,
  {present, absent}: {readonly present: readonly string[]; readonly absent: readonly string[]},
): Presence {
  const code = error instanceof NetlinkError ? error.code : '';
  if (present.includes(code)) return 'present';
  return absent.includes(code) ? 'absent' : 'unknown';
}
