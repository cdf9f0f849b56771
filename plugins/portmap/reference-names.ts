import type {Owner} from '../../lib/cni/owner.ts';

// Names that the reference gave to what it made, and that our iptables backend gives.

/** From what a container's chain is named after to the chain that leads to it; "SN-" is of releases before 0.8. */
export const topChains = {'DN-': 'CNI-HOSTPORT-DNAT', 'SN-': 'CNI-HOSTPORT-SNAT'} as const;
export type ChainPrefix = keyof typeof topChains;

const mostCommentBytes = 255;

/** The comment of a rule that leads to a container's chain. */
export function dnatComment({network, containerId}: Pick<Owner, 'network' | 'containerId'>): string {
  const comment = `dnat name: "${network}" id: "${containerId}"`;
  if (Buffer.byteLength(comment) <= mostCommentBytes) return comment;
  return `${Buffer.from(comment)
    .subarray(0, mostCommentBytes - 2)
    .toString('latin1')}..`;
}

/** Network and container of such a comment; `undefined` when it is another one, or cut off. */
export function parseDnatComment(text: string): {network: string; containerId: string} | undefined {
  const match = /^[ds]nat name: "([^"]*)" id: "([^"]*)"$/.exec(text);
  return match ? {network: match[1]!, containerId: match[2]!} : undefined;
}
