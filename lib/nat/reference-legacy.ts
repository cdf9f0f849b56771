import type {Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import type {Cidr} from '../ip/cidr.ts';
import type {IptablesOptions} from './iptables-command.ts';
import {formatRemoval, parseIptablesContainers} from './iptables-rules.ts';
import {eachLegacyNatTable} from './legacy-tables.ts';
import {iptablesChainName} from './names.ts';

// Masquerading in the tables of iptables-legacy, which nfnetlink does not show.

/**
 * Removes one container's masquerading from iptables-legacy. Runs nothing where the kernel has no such
 * table in this namespace, or nothing of the container in it; otherwise two processes per family.
 */
export async function removeLegacyMasquerade(
  owner: Owner,
  options: IptablesOptions & {readonly ips?: readonly Cidr[] | undefined},
): Promise<void> {
  const chain = iptablesChainName(owner.network, owner.containerId);
  await eachLegacyNatTable(options, [chain], (saved) => {
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
  await eachLegacyNatTable(options, [`name: "${network}"`], (saved) => {
    const stale = parseIptablesContainers(network, saved).filter((id) => !kept.has(id));
    return stale.flatMap((containerId) => formatRemoval({network, containerId}, saved) ?? []);
  });
}
