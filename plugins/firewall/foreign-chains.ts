import type {Family} from '../../lib/ip/address.ts';
import {listBaseChains} from '../../lib/netlink/nft/chain.ts';
import {verdictRegister} from '../../lib/netlink/nft/expression.ts';
import type {NftFamily} from '../../lib/netlink/nft/operation.ts';
import {ctKeys} from '../../lib/netlink/nft/expr/ct.ts';
import {listRules} from '../../lib/netlink/nft/rule.ts';
import type {RuleInfo} from '../../lib/netlink/nft/rule.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {parseVerdict} from '../../lib/netlink/nft/verdict.ts';
import {isAdmission} from '../../lib/nat/admission.ts';
import {forwardName, tableFamilies} from '../../lib/nat/admission-names.ts';
import {formatMark, forwardPriority, table as own} from './ruleset.ts';

// Chains of an administrator, in nftables' own language. They are left as they are: what is in them may be meant. But where
// one drops what is forwarded and does not know our mark, somebody should be told which rule is missing.

/** A chain that drops forwarded packets in the end, and does not accept those with our mark. */
export interface ForeignChain {
  /** As nft names it: "inet filter forward". */
  readonly name: string;
  /** What is wrong, and the command that mends it. */
  readonly sentence: string;
  /** Whether it has other rules that may let containers through. */
  readonly mayAdmit: boolean;
}

/**
 * All such chains, of the tables that see packets of `families`. Reads the names of all chains of the host, so it is nothing
 * for every call.
 */
export async function findForeignChains(
  nft: NetfilterSocket,
  families: readonly Family[],
  mark: number,
): Promise<ForeignChain[]> {
  const tables: readonly NftFamily[] = ['inet', ...families.map((family) => tableFamilies[family])];
  const found = tables.map(async (family) => {
    const chains = (await listBaseChains(nft, {family, hook: 'forward'})).filter(
      ({type, table, chain}) => type === 'filter' && !isKnown(table, chain),
    );
    const judged = chains.map(async ({table, chain, policy, priority = 0}): Promise<ForeignChain[]> => {
      const rules = await listRules(nft, {family, table, chain});
      const drops = policy === 'drop' || isEnd(rules.at(-1));
      if (!drops || rules.some((rule) => isAdmission(rule, mark))) return [];
      const name = `${family} ${table} ${chain}`;
      return [{name, sentence: sentenceOf(name, priority, mark), mayAdmit: rules.some(mayAdmit)}];
    });
    return (await Promise.all(judged)).flat();
  });
  return (await Promise.all(found)).flat();
}

/** Our own, iptables' (which we put the rule into), and firewalld's (which is asked by D-Bus). */
function isKnown(table: string, chain: string): boolean {
  return table === own.table || table === 'firewalld' || chain === forwardName;
}

function sentenceOf(name: string, priority: number, mark: number): string {
  const drops = `the chain ${name} of nftables drops what is forwarded, containers' traffic as well`;
  const bits = formatMark(mark);
  const rule = `nft insert rule ${name} meta mark and ${bits} == ${bits} accept`;
  return priority > forwardPriority
    ? `${drops}: ${rule}`
    : `${drops}: give it a later priority than ${forwardPriority}, where weft sets its mark, and: ${rule}`;
}

/** Whether a rule drops or rejects whatever comes to it. */
function isEnd(rule: RuleInfo | undefined): boolean {
  const [only, ...more] = (rule?.expressions ?? []).filter(
    (each) => !['counter', 'log', 'limit'].includes(kindOf(each)),
  );
  if (!only || more.length > 0) return false;
  if (kindOf(only) === 'reject') return true;
  return only.name === 'immediate' && parseVerdict(only.data.data)?.kind === 'drop';
}

/** The kernel's name of an expression, whether there is a codec for it or not. */
function kindOf(expression: RuleInfo['expressions'][number]): string {
  return expression.name === 'other' ? expression.kind : expression.name;
}

/** Whether a rule may accept a new connection, by itself or where it leads to. */
function mayAdmit({expressions}: RuleInfo): boolean {
  const [first] = expressions;
  const ofConnection = first?.name === 'ct' && first.data.key === ctKeys.state;
  return expressions.some((each) => {
    if (each.name === 'lookup') return each.data.dreg === verdictRegister;
    const kind = each.name === 'immediate' ? parseVerdict(each.data.data)?.kind : undefined;
    return !ofConnection && (kind === 'accept' || kind === 'jump' || kind === 'goto');
  });
}
