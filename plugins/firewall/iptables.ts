import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {familyOf} from '../../lib/ip/address.ts';
import type {Family} from '../../lib/ip/address.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {iptablesOf} from '../../lib/nat/iptables-rules.ts';
import {checkIptables, planIptables} from './iptables-rules.ts';
import type {IptablesWanted} from './iptables-rules.ts';
import {changeFilter, saveFilter} from './restore.ts';

const families: readonly Family[] = [4, 6];

/** Makes the reference's chains ("backend": "iptables"): what is there is read, the rest is one restore per family. */
export async function ensureIptables(wanted: IptablesWanted, options: IptablesOptions): Promise<void> {
  for (const {family, ...part} of perFamily(wanted)) {
    requireIptables([family], options);
    await changeFilter(iptablesOf(family), options, (saved) => planIptables(part, saved));
  }
}

/** The rules that are missing, in the reference's words. */
export async function checkIptablesBackend(
  wanted: IptablesWanted,
  options: IptablesOptions,
): Promise<string[]> {
  const missing: string[] = [];
  for (const {family, ...part} of perFamily(wanted)) {
    requireIptables([family], options);
    missing.push(...checkIptables(part, await saveFilter(iptablesOf(family), options)));
  }
  return missing;
}

/** Whether the tools are there. Throws CniError `code` where one is not. */
export function requireIptables(
  needed: readonly Family[],
  options: IptablesOptions,
  code: number = errorCodes.internal,
): void {
  for (const family of needed) {
    const missing = ['-save', '-restore']
      .map((end) => `${iptablesOf(family)}${end}`)
      .find((name) => !findTool(name, options));
    if (missing === undefined) continue;
    throw new CniError(
      code,
      `could not initialize iptables protocol ${family === 4 ? 'IPv4' : 'IPv6'}: ${missing} is not installed`,
      'the backend "iptables" of the firewall needs it: install the package iptables, or set "backend": "nftables"',
    );
  }
}

function perFamily(wanted: IptablesWanted): (IptablesWanted & {readonly family: Family})[] {
  return families
    .map((family) => ({...wanted, family, ips: wanted.ips.filter((ip) => familyOf(ip) === family)}))
    .filter(({ips}) => ips.length > 0);
}
