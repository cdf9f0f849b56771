import type {Family} from '../../lib/ip/address.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import {hasLegacyTable} from '../../lib/nat/legacy-tables.ts';
import {iptablesOf} from '../../lib/nat/iptables-rules.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {changeFilter} from './restore.ts';

// The filter table of iptables-legacy, which nfnetlink does not show.

/**
 * Lets `plan` look at what iptables-legacy-save prints, and carries out the commands it gives. Runs nothing where the
 * kernel has no such table in this namespace; else one process, and a second one where there is something to change.
 * Gives the families whose table cannot be reached, for want of the tool.
 */
export async function changeLegacyFilter(
  options: IptablesOptions,
  families: readonly Family[],
  plan: (saved: string, family: Family) => readonly string[],
): Promise<Family[]> {
  const unreached: Family[] = [];
  for (const family of families) {
    if (!hasLegacyTable(family, 'filter')) continue;
    const tool = iptablesOf(family);
    // A host with this variant alone has it under the plain name.
    const variant = ['-legacy', ''].find((each) => findTool(`${tool}${each}-save`, options));
    if (variant === undefined) unreached.push(family);
    else await changeFilter(`${tool}${variant}`, options, (saved) => plan(saved, family));
  }
  return unreached;
}
