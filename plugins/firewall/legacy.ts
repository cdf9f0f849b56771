import type {Family} from '../../lib/ip/address.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import {dockerName} from '../../lib/nat/admission-names.ts';
import {readLegacyTable} from '../../lib/nat/legacy-blob.ts';
import type {LegacyRule, LegacyTable} from '../../lib/nat/legacy-blob.ts';
import {hasLegacyTable} from '../../lib/nat/legacy-tables.ts';
import {iptablesOf} from '../../lib/nat/iptables-rules.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {changeFilter} from './restore.ts';

// The filter table of iptables-legacy, which nfnetlink does not show.

/** What is to be changed, and how it is known that nothing is. */
export interface LegacyChange {
  /** Looks at what the kernel gives; `true`: no tool is needed. */
  readonly isSettled: (table: LegacyTable, family: Family) => boolean;
  /** Gives the commands, for what iptables-legacy-save prints. */
  readonly plan: (saved: string, family: Family) => readonly string[];
}

/**
 * Changes the filter tables of iptables-legacy. Runs nothing where the kernel has no such table in this namespace, or where all
 * is settled; else one process, and a second one where there is something to change. Gives the families whose table
 * cannot be reached, for want of the tool.
 */
export async function changeLegacyFilter(
  options: IptablesOptions,
  families: readonly Family[],
  {isSettled, plan}: LegacyChange,
): Promise<Family[]> {
  const unreached: Family[] = [];
  for (const family of families) {
    if (!hasLegacyTable(family, 'filter')) continue;
    const table = readLegacyTable(family, 'filter');
    if (table && isSettled(table, family)) continue;
    const tool = iptablesOf(family);
    // A host with this variant alone has it under the plain name.
    const variant = ['-legacy', ''].find((each) => findTool(`${tool}${each}-save`, options));
    if (variant === undefined) unreached.push(family);
    else await changeFilter(`${tool}${variant}`, options, (saved) => plan(saved, family));
  }
  return unreached;
}

/** Whether packets with the mark are accepted: in FORWARD, or in DOCKER-USER where that leads there. */
export function isAdmittedByLegacy(table: LegacyTable, mark: number): boolean {
  const forward = table.forward();
  const isAdmission = (rule: LegacyRule) => isMarkAccepted(rule, mark);
  if (forward.some(isAdmission)) return true;
  const docker = table.find(dockerName);
  return (
    docker !== undefined &&
    forward.some((rule) => isPlain(rule) && verdictOf(rule) === docker.verdict) &&
    docker.rules.some(isAdmission)
  );
}

// linux/netfilter/x_tables.h: -NF_ACCEPT - 1.
const accept = -2;

function verdictOf({target: {name, data}}: LegacyRule): number | undefined {
  return name === '' ? data.readInt32LE(0) : undefined;
}

function isPlain({isSelective, matches}: LegacyRule): boolean {
  return !isSelective && matches.length === 0;
}

function isMarkAccepted(rule: LegacyRule, mark: number): boolean {
  const [only, ...more] = rule.matches.filter(({name}) => name !== 'comment');
  if (rule.isSelective || verdictOf(rule) !== accept || only?.name !== 'mark' || more.length > 0)
    return false;
  // struct xt_mark_mtinfo1: mark, mask, invert.
  const {data} = only;
  return data.readUInt32LE(0) === mark && data.readUInt32LE(4) === mark && data[8] === 0;
}
