import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Attachment} from '../../lib/cni/types.ts';
import type {Family} from '../../lib/ip/address.ts';
import {findTool, runTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {iptablesOf} from '../../lib/nat/iptables-rules.ts';
import {eachLegacyNatTable, hasLegacyTable} from '../../lib/nat/legacy-tables.ts';
import {findChain} from '../../lib/netlink/nft/chain.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {
  findMissing,
  formatNew,
  formatRemoval,
  formatRepair,
  parseContainers,
  planIptables,
} from './iptables-rules.ts';
import type {IptablesForwarding, IptablesPlan} from './iptables-rules.ts';
import {families} from './mapping.ts';
import {topChains} from './reference-names.ts';
import {iptablesChainName} from '../../lib/nat/names.ts';

/** Throws where iptables is not installed at all, in the reference's words. */
export function checkIptables(options: IptablesOptions): void {
  if (families.some((family) => findTool(`${iptablesOf(family)}-restore`, options))) return;
  throw new CniError(
    errorCodes.internal,
    'neither iptables nor ip6tables is usable',
    'the iptables backend needs them: install the package iptables, or set "backend": "nftables"',
  );
}

/**
 * Forwards ports in the reference's iptables chains: one iptables-restore. Only where the shared chains are there and not
 * what they should be, or the container has a chain already, what is there is read and completed.
 */
export async function ensureIptablesForwarding(
  nft: NetfilterSocket,
  wanted: IptablesForwarding,
  options: IptablesOptions,
): Promise<void> {
  const plan = planIptables(wanted);
  const restore = (input: string) =>
    runTool(`${iptablesOf(wanted.family)}-restore`, ['--noflush', '--wait'], options, input);
  try {
    const isFirst = await isUnused(nft, wanted.family, plan);
    await restore(isFirst ? formatRepair(plan, '') : formatNew(plan));
  } catch {
    // What it says differs between versions: look, instead of reading it. What is wrong with the rules fails again.
    await restore(formatRepair(plan, await saveNat(wanted.family, options)));
  }
}

/**
 * Whether no iptables of either variant can have the shared chains, as far as can be told without starting one. What
 * iptables-legacy has is not seen, but whether it has anything.
 */
async function isUnused(
  nft: NetfilterSocket,
  family: Family,
  {sharedChains}: IptablesPlan,
): Promise<boolean> {
  if (hasLegacyTable(family, 'nat')) return false;
  const table = {family: family === 4 ? 'ip' : 'ip6', table: 'nat'} as const;
  try {
    const found = await Promise.all(sharedChains.map((chain) => findChain(nft, {...table, chain})));
    return found.every((chain) => chain === undefined);
  } catch (error) {
    if (isMissingNftables(error)) return true;
    throw error;
  }
}

/** What is missing of the forwarding, one sentence each: one process. */
export async function checkIptablesForwarding(
  wanted: IptablesForwarding,
  options: IptablesOptions,
): Promise<string[]> {
  const saved = await saveNat(wanted.family, options);
  return findMissing(planIptables(wanted), saved).map((text) => `${iptablesOf(wanted.family)}: ${text}`);
}

/** Removes one container's mappings from iptables-legacy; nfnetlink does not show it. */
export async function removeLegacyForwarding(owner: Owner, options: IptablesOptions): Promise<void> {
  const chains = Object.keys(topChains).map((prefix) =>
    iptablesChainName(owner.network, owner.containerId, prefix),
  );
  await eachLegacyNatTable(options, chains, (saved) => {
    const input = formatRemoval(owner, saved);
    return input === undefined ? [] : [input];
  });
}

/** Removes the mappings of containers of `network` that are not in `keep` from iptables-legacy. */
export async function collectLegacyForwarding(
  network: string,
  keep: readonly Attachment[],
  options: IptablesOptions,
): Promise<void> {
  const kept = new Set(keep.map(({containerId}) => containerId));
  await eachLegacyNatTable(options, [`name: "${network}"`], (saved) =>
    parseContainers(network, saved)
      .filter((containerId) => !kept.has(containerId))
      .flatMap((containerId) => formatRemoval({network, containerId}, saved) ?? []),
  );
}

function saveNat(family: Family, options: IptablesOptions): Promise<string> {
  return runTool(`${iptablesOf(family)}-save`, ['-t', 'nat'], options);
}
