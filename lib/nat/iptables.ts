import type {Owner} from '../cni/owner.ts';
import {familyOf} from '../ip/address.ts';
import type {Family} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {runTool} from './iptables-command.ts';
import type {IptablesOptions} from './iptables-command.ts';
import {
  formatMissingRules,
  formatNewRules,
  hasChain,
  iptablesOf,
  planIptablesRules,
} from './iptables-rules.ts';

/** What to masquerade; see `ensureMasquerade`. */
export interface IptablesMasquerade {
  readonly owner: Owner;
  readonly ips: readonly Cidr[];
  readonly exemptDestinations?: readonly Cidr[];
}

const families: readonly Family[] = [4, 6];

/**
 * Masquerades in the reference's iptables chains ("ipMasqBackend": "iptables"): one iptables-restore per
 * family. Only where the container has such a chain already, what is there is read first and completed.
 */
export async function ensureIptablesMasquerade(
  {owner, ips, exemptDestinations}: IptablesMasquerade,
  options: IptablesOptions,
): Promise<void> {
  for (const family of families) {
    const rules = planIptablesRules(owner, ofFamily(ips, family), exemptDestinations);
    if (rules.length === 0) continue;
    const restore = (input: string) =>
      runTool(`${iptablesOf(family)}-restore`, ['--noflush', '--wait'], options, input);
    try {
      await restore(formatNewRules(owner, rules));
    } catch (error) {
      // Its text for a chain that exists differs between versions: look, instead of reading it.
      const saved = await saveNat(family, options).catch(() => undefined);
      if (saved === undefined || !hasChain(owner, saved)) throw error;
      const input = formatMissingRules(owner, rules, saved);
      if (input !== undefined) await restore(input);
    }
  }
}

/** The rules that are missing, as iptables-save would print them: one process per family. */
export async function checkIptablesMasquerade(
  {owner, ips, exemptDestinations}: IptablesMasquerade,
  options: IptablesOptions,
): Promise<string[]> {
  const missing: string[] = [];
  for (const family of families) {
    const rules = planIptablesRules(owner, ofFamily(ips, family), exemptDestinations);
    if (rules.length === 0) continue;
    const present = new Set((await saveNat(family, options)).split('\n'));
    missing.push(
      ...rules.filter((rule) => !present.has(rule)).map((rule) => `${iptablesOf(family)}: ${rule}`),
    );
  }
  return missing;
}

function saveNat(family: Family, options: IptablesOptions): Promise<string> {
  return runTool(`${iptablesOf(family)}-save`, ['-t', 'nat'], options);
}

function ofFamily(ips: readonly Cidr[], family: Family): Cidr[] {
  return ips.filter(({ip}) => familyOf(ip) === family);
}
