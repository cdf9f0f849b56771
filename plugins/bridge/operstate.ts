import type {Host} from '../../lib/host.ts';
import {getLink} from '../../lib/netlink/route/link.ts';
import type {Link} from '../../lib/netlink/route/link.ts';
import {LinkMonitor, waitForLink} from '../../lib/netlink/route/monitor.ts';

const waitMs = 2500;

/**
 * Waits until the port carries traffic, which takes the kernel a moment after the container's end came up:
 * usually it does when it is first looked at.
 */
export async function waitForPortUp(host: Host, port: Link): Promise<Link> {
  const first = await getLink(host.rt, {ifindex: port.ifindex});
  if (first.operstate === 'up') return first;
  using monitor = new LinkMonitor();
  const {reached, link} = await waitForLink({rt: host.rt, monitor}, port, {
    until: ({operstate}) => operstate === 'up',
    timeoutMs: waitMs,
  });
  if (reached && link) return link;
  throw new Error(
    `bridge port in error state: ${link?.operstate ?? 'gone'} (${port.name}, after ${waitMs} ms)`,
  );
}
