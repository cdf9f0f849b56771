import type {Owner} from '../cni/owner.ts';
import {familyOf} from '../ip/address.ts';
import type {Family} from '../ip/address.ts';
import {formatCidr, hostCidr, subnetOf} from '../ip/cidr.ts';
import type {Cidr} from '../ip/cidr.ts';
import {iptablesChainName, iptablesComment, parseIptablesComment} from './names.ts';

const multicast = {4: '224.0.0.0/4', 6: 'ff00::/8'} as const;

type Names = Pick<Owner, 'network' | 'containerId'>;

/**
 * The rules that masquerade `ips` of one family in the reference's chains, spelled as iptables-save
 * prints them. Exemptions come before the MASQUERADE rule, those of every address: the reference puts
 * those of a second address of the same family behind it, where they are without effect.
 */
export function planIptablesRules(
  owner: Names,
  ips: readonly Cidr[],
  exemptDestinations: readonly Cidr[] = [],
): string[] {
  const first = ips[0];
  if (!first) return [];
  const family = familyOf(first.ip);
  const chain = iptablesChainName(owner.network, owner.containerId);
  const comment = `-m comment --comment "${quote(iptablesComment(owner))}"`;
  const exempt = [...ips, ...exemptDestinations.filter((cidr) => familyOf(cidr.ip) === family)];
  return [
    ...new Set(exempt.map((cidr) => `-A ${chain} -d ${formatCidr(subnetOf(cidr))} ${comment} -j ACCEPT`)),
    `-A ${chain} ! -d ${multicast[family]} ${comment} -j MASQUERADE`,
    ...ips.map((cidr) => `-A POSTROUTING -s ${formatCidr(hostCidr(cidr.ip))} ${comment} -j ${chain}`),
  ];
}

/** Input for `iptables-restore --noflush`: everything or, where the chain exists already, nothing. */
export function formatNewRules(owner: Names, rules: readonly string[]): string {
  return formatRestore([`-N ${iptablesChainName(owner.network, owner.containerId)}`, ...rules]);
}

/**
 * Input that adds to what `saved` (output of iptables-save) shows whatever of `rules` is missing;
 * `undefined` when nothing is.
 */
export function formatMissingRules(
  owner: Names,
  rules: readonly string[],
  saved: string,
): string | undefined {
  const present = new Set(saved.split('\n'));
  const missing = rules.filter((rule) => !present.has(rule));
  if (missing.length === 0) return undefined;
  const chain = iptablesChainName(owner.network, owner.containerId);
  const exists = hasChain(owner, saved);
  // Behind a MASQUERADE that is there an exemption would do nothing; in front of it, it is right.
  const lines = missing.map((rule) =>
    exists && rule.endsWith('-j ACCEPT') ? rule.replace(/^-A (\S+)/, '-I $1 1') : rule,
  );
  return formatRestore(exists ? lines : [`-N ${chain}`, ...lines]);
}

/** Whether output of iptables-save shows the chain of a container. */
export function hasChain(owner: Names, saved: string): boolean {
  return saved.includes(`\n:${iptablesChainName(owner.network, owner.containerId)} `);
}

/**
 * Input that removes from what `saved` shows the masquerading of one container; `undefined` when there is
 * none. With `ips`, another interface of the container that shares the chain keeps its own rule.
 */
export function formatRemoval(owner: Names, saved: string, ips?: readonly Cidr[]): string | undefined {
  const chain = iptablesChainName(owner.network, owner.containerId);
  if (!hasChain(owner, saved)) return undefined;
  const lines = saved.split('\n');
  const jumps = lines.filter((line) => line.startsWith('-A ') && line.endsWith(` -j ${chain}`));
  const sources = ips?.map((cidr) => ` -s ${formatCidr(hostCidr(cidr.ip))} `);
  const ours = sources
    ? jumps.filter((line) => sources.some((source) => line.includes(source)) || !isHostRule(line))
    : jumps;
  const removed = ours.map((line) => line.replace(/^-A/, '-D'));
  if (ours.length < jumps.length) return removed.length > 0 ? formatRestore(removed) : undefined;
  return formatRestore([...removed, `-F ${chain}`, `-X ${chain}`]);
}

/** Containers whose masquerading in `network` is in `saved`. */
export function parseIptablesContainers(network: string, saved: string): string[] {
  const ids = new Set<string>();
  for (const [, quoted, chain] of saved.matchAll(
    /^-A POSTROUTING .*--comment "((?:[^"\\]|\\.)*)" -j (CNI-\S+)$/gm,
  )) {
    const names = parseIptablesComment(quoted!.replaceAll(/\\(.)/g, '$1'));
    if (names?.network === network && iptablesChainName(network, names.containerId) === chain) {
      ids.add(names.containerId);
    }
  }
  return [...ids];
}

/** "iptables" or "ip6tables", as the names of the tools of a family begin. */
export function iptablesOf(family: Family): 'iptables' | 'ip6tables' {
  return family === 4 ? 'iptables' : 'ip6tables';
}

/** Older releases of the reference matched the whole subnet; such a rule is nobody else's. */
function isHostRule(line: string): boolean {
  return / -s \S+\/(32|128) /.test(line);
}

function formatRestore(lines: readonly string[]): string {
  return ['*nat', ...lines, 'COMMIT', ''].join('\n');
}

function quote(text: string): string {
  return text.replaceAll(/["\\]/g, '\\$&');
}
