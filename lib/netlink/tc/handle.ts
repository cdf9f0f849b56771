/** Places in a link's tree of queues that have no owner's number (linux/pkt_sched.h, TC_H_*). */
export const root = 0xffff_ffff;
/** Where the qdiscs `ingress` and `clsact` sit; both have the handle ffff:. */
export const ingressParent = 0xffff_fff1;
/** What the filters of clsact belong to, for packets that come in and that leave. */
export const clsactIngress = 0xffff_fff2;
export const clsactEgress = 0xffff_fff3;

/** The number of a qdisc (`minor` 0) or of a class in it. */
export function makeHandle(major: number, minor = 0): number {
  return ((major << 16) | minor) >>> 0;
}

/** As tc writes it: "1:", "1:10", "ffff:", "root", "ingress". */
export function formatHandle(handle: number): string {
  if (handle === root) return 'root';
  if (handle === ingressParent) return 'ingress';
  const minor = handle & 0xffff;
  return `${(handle >>> 16).toString(16)}:${minor === 0 ? '' : minor.toString(16)}`;
}
