import {shortHash} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';

// Names that the reference plugins gave to what they made; ours must find it under the same names.

/** Longest name of an iptables chain that every xtables version takes. */
const maxChainLength = 28;

/**
 * The iptables chain of one container in one network: "CNI-" + `prefix` + SHA-512 of both, 28 characters.
 * The interface is no part of it: two interfaces of one container in one network share the chain.
 */
export function iptablesChainName(network: string, containerId: string, prefix = ''): string {
  const start = `CNI-${prefix}`;
  return start + shortHash(`${network}${containerId}`, maxChainLength - start.length);
}

/** The comment of every iptables rule of one container in one network. */
export function iptablesComment({network, containerId}: Pick<Owner, 'network' | 'containerId'>): string {
  return `name: "${network}" id: "${containerId}"`;
}

/** Network and container of such a comment; `undefined` when it is another one. */
export function parseIptablesComment(text: string): {network: string; containerId: string} | undefined {
  const match = /^name: "([^"]*)" id: "([^"]*)"$/.exec(text);
  return match ? {network: match[1]!, containerId: match[2]!} : undefined;
}
