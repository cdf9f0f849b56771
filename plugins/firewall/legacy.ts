import {readFileSync} from 'node:fs';
import type {Family} from '../../lib/ip/address.ts';
import {findTool, runTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {formatRestore} from './iptables-rules.ts';

// The filter table of iptables-legacy, which nfnetlink does not show.

const names = {
  4: {list: '/proc/net/ip_tables_names', tool: 'iptables'},
  6: {list: '/proc/net/ip6_tables_names', tool: 'ip6tables'},
} as const;

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
    if (!hasLegacyFilter(family)) continue;
    const saved = await saveLegacyFilter(options, family);
    if (saved === undefined) {
      unreached.push(family);
      continue;
    }
    const commands = plan(saved.text, family);
    if (commands.length === 0) continue;
    await runTool(`${saved.tool}-restore`, ['--noflush', '--wait'], options, formatRestore(commands));
  }
  return unreached;
}

async function saveLegacyFilter(
  options: IptablesOptions,
  family: Family,
): Promise<{tool: string; text: string} | undefined> {
  const {tool} = names[family];
  // A host with this variant alone has it under the plain name.
  const variant = ['-legacy', ''].find((each) => findTool(`${tool}${each}-save`, options));
  if (variant === undefined) return undefined;
  return {
    tool: `${tool}${variant}`,
    text: await runTool(`${tool}${variant}-save`, ['-t', 'filter'], options),
  };
}

/** Whether iptables-legacy has a filter table in the namespace the process is in. */
function hasLegacyFilter(family: Family): boolean {
  try {
    return readFileSync(names[family].list, 'utf8').split('\n').includes('filter');
  } catch {
    // The kernel has no iptables-legacy, or the process may not see it and could not change it.
    return false;
  }
}
