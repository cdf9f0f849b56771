import type {Host} from '../host.ts';
import {getLink} from '../netlink/route/link.ts';
import type {Link} from '../netlink/route/link.ts';
import {LinkMonitor, waitForLink} from '../netlink/route/monitor.ts';

const waitMs = 2500;

/**
 * Waits until the host's end carries traffic, which takes the kernel a moment after the container's end came up:
 * usually it does when it is first looked at. `what` begins the error: "bridge port in error state: down …".
 */
export async function waitForCarrier(host: Host, end: Link, what: string): Promise<Link> {
  const first = await getLink(host.rt, {ifindex: end.ifindex});
  if (first.operstate === 'up') return first;
  using monitor = new LinkMonitor();
  const {reached, link} = await waitForLink({rt: host.rt, monitor}, end, {
    until: ({operstate}) => operstate === 'up',
    timeoutMs: waitMs,
  });
  if (reached && link) return link;
  throw new Error(`${what} in error state: ${link?.operstate ?? 'gone'} (${end.name}, after ${waitMs} ms)`);
}
