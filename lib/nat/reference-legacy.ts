import {readFileSync} from 'node:fs';
import type {Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import type {Family} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {findTool, runTool} from './iptables-command.ts';
import type {IptablesOptions} from './iptables-command.ts';
import {formatRemoval, parseIptablesContainers} from './iptables-rules.ts';

// Masquerading in the tables of iptables-legacy, which nfnetlink does not show.

const families: readonly Family[] = [4, 6];
const names = {
  4: {list: '/proc/net/ip_tables_names', tool: 'iptables'},
  6: {list: '/proc/net/ip6_tables_names', tool: 'ip6tables'},
} as const;

/**
 * Removes one container's masquerading from iptables-legacy. Runs nothing where the kernel has no such
 * table in this namespace; otherwise one process per family, and a second one where there is something to remove.
 */
export async function removeLegacyMasquerade(
  owner: Owner,
  options: IptablesOptions & {readonly ips?: readonly Cidr[] | undefined},
): Promise<void> {
  await eachTable(options, (saved) => {
    const input = formatRemoval(owner, saved, options.ips);
    return input === undefined ? [] : [input];
  });
}

/** Removes the masquerading of containers of `network` that are not in `keep` from iptables-legacy. */
export async function collectLegacyMasquerade(
  network: string,
  keep: readonly Attachment[],
  options: IptablesOptions,
): Promise<void> {
  const kept = new Set(keep.map(({containerId}) => containerId));
  await eachTable(options, (saved) => {
    const stale = parseIptablesContainers(network, saved).filter((id) => !kept.has(id));
    return stale.flatMap((containerId) => formatRemoval({network, containerId}, saved) ?? []);
  });
}

async function eachTable(
  options: IptablesOptions,
  plan: (saved: string) => readonly string[],
): Promise<void> {
  for (const family of families) {
    if (!hasNatTable(family)) continue;
    const {tool} = names[family];
    // A host with this variant alone has it under the plain name. Without the tool nobody here made any rule.
    const variant = ['-legacy', ''].find((each) => findTool(`${tool}${each}-save`, options));
    if (variant === undefined) continue;
    const saved = await runTool(`${tool}${variant}-save`, ['-t', 'nat'], options);
    for (const input of plan(saved)) {
      await runTool(`${tool}${variant}-restore`, ['--noflush', '--wait'], options, input);
    }
  }
}

/** Whether iptables-legacy has a nat table in the namespace the process is in. */
function hasNatTable(family: Family): boolean {
  try {
    return readFileSync(names[family].list, 'utf8').split('\n').includes('nat');
  } catch {
    // The kernel has no iptables-legacy, or the process may not see it and could not change it.
    return false;
  }
}
