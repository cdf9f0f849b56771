import type {Link, LinkChange} from '../../lib/netlink/route/link.ts';

/** The attributes of a link that this plugin sets; only those that are given. */
export interface Attributes {
  readonly mac?: string;
  readonly promisc?: boolean;
  readonly mtu?: number;
  readonly allmulti?: boolean;
  readonly txQLen?: number;
}

export function isEmpty(attributes: Attributes): boolean {
  return Object.keys(attributes).length === 0;
}

/** What the link has of all of them. */
export function readAttributes(link: Link): Required<Attributes> {
  const {mac, promisc, mtu, allMulti, txQueueLength} = link;
  return {mac, promisc, mtu, allmulti: allMulti, txQLen: txQueueLength};
}

/** What the link has of those that are to be changed. */
export function originalsOf(link: Link, wanted: Attributes): Attributes {
  const present = Object.entries(readAttributes(link));
  return Object.fromEntries(present.filter(([name]) => name in wanted));
}

/** As a request to the kernel. */
export function changeTo({mac, promisc, mtu, allmulti, txQLen}: Attributes): LinkChange {
  return {mac, promisc, mtu, allMulti: allmulti, txQueueLength: txQLen};
}
