import {readFileSync} from 'node:fs';
import type {Family} from '../ip/address.ts';
import {findTool, runTool} from './iptables-command.ts';
import type {IptablesOptions} from './iptables-command.ts';
import {readLegacyTable} from './legacy-blob.ts';

const families: readonly Family[] = [4, 6];
const names = {
  4: {list: '/proc/net/ip_tables_names', tool: 'iptables'},
  6: {list: '/proc/net/ip6_tables_names', tool: 'ip6tables'},
} as const;

/**
 * Changes the nat tables of iptables-legacy, which nfnetlink does not show. `plan` gets what iptables-save prints and gives
 * inputs of iptables-restore. Runs nothing where the kernel has no such table in this namespace, or where the table has none
 * of the texts `mentioned` in it; otherwise one process per family, and another for each input.
 */
export async function eachLegacyNatTable(
  options: IptablesOptions,
  mentioned: readonly string[],
  plan: (saved: string) => readonly string[],
): Promise<void> {
  for (const family of families) {
    if (!hasLegacyTable(family, 'nat')) continue;
    const {tool} = names[family];
    // A host with this variant alone has it under the plain name. Without the tool nobody here made any rule.
    const variant = ['-legacy', ''].find((each) => findTool(`${tool}${each}-save`, options));
    if (variant === undefined) continue;
    const table = readLegacyTable(family, 'nat');
    if (table && !mentioned.some((text) => table.mentions(text))) continue;
    const saved = await runTool(`${tool}${variant}-save`, ['-t', 'nat'], options);
    for (const input of plan(saved)) {
      await runTool(`${tool}${variant}-restore`, ['--noflush', '--wait'], options, input);
    }
  }
}

/** Whether iptables-legacy has the table in the namespace the process is in. */
export function hasLegacyTable(family: Family, table: 'filter' | 'nat'): boolean {
  try {
    return readFileSync(names[family].list, 'utf8').split('\n').includes(table);
  } catch {
    // The kernel has no iptables-legacy, or the process may not see it and could not change it.
    return false;
  }
}
