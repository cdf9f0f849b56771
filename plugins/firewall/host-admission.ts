import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import type {Family} from '../../lib/ip/address.ts';
import {findUnadmitted} from '../../lib/nat/admission.ts';
import {planLegacyAdmission} from './iptables-rules.ts';
import {changeLegacyFilter, isAdmittedByLegacy} from './legacy.ts';

// The one rule in the host's own FORWARD, of either iptables.

/** Makes the rule in iptables-legacy, where its filter table is in use. */
export async function ensureLegacyAdmission(
  call: Call,
  families: readonly Family[],
  mark: number,
): Promise<void> {
  const unreached = await changeLegacyFilter(call, families, {
    isSettled: (table) => isAdmittedByLegacy(table, mark),
    plan: (saved) => planLegacyAdmission(mark, saved),
  });
  for (const family of unreached) call.warn(unreachedSentence(family));
}

/** Where the rule is missing, one sentence each. */
export async function checkAdmission(
  call: Call,
  {nft}: Pick<Host, 'nft'>,
  families: readonly Family[],
  mark: number,
): Promise<string[]> {
  const sentences = (await findUnadmitted(nft, families, mark)).map((family) =>
    unadmittedSentence(family, 'nft'),
  );
  const unreached = await changeLegacyFilter(call, families, {
    isSettled: (table) => isAdmittedByLegacy(table, mark),
    plan(saved, family) {
      if (planLegacyAdmission(mark, saved).length > 0) sentences.push(unadmittedSentence(family, 'legacy'));
      return [];
    },
  });
  for (const family of unreached) call.warn(unreachedSentence(family));
  return sentences;
}

function unadmittedSentence(family: Family, variant: string): string {
  const tool = `${family === 4 ? 'iptables' : 'ip6tables'}-${variant}`;
  return `the chain FORWARD of ${tool} lacks the rule that accepts the traffic of containers; the next ADD makes it`;
}

function unreachedSentence(family: Family): string {
  const tool = family === 4 ? 'iptables' : 'ip6tables';
  return (
    `the table filter of ${tool}-legacy is in use, but ${tool}-legacy-save is not installed: ` +
    'where its FORWARD chain drops, the traffic of containers is dropped'
  );
}
