import type {Family} from '../ip/address.ts';
import {findChain} from '../netlink/nft/chain.ts';
import type {ChainRef} from '../netlink/nft/chain.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {addRule, findTarget, insertRule, listRules, matchesRule} from '../netlink/nft/rule.ts';
import type {RuleInfo, Statement} from '../netlink/nft/rule.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {counter, matchMarkBit, verdict} from '../netlink/nft/statement.ts';
import {transact} from '../netlink/nft/transaction.ts';
import {parseVerdict} from '../netlink/nft/verdict.ts';
import {admissionComment, dockerName, forwardName, referenceJumps, tableFamilies} from './admission-names.ts';

// The one rule in chains that are not ours. A packet that our chain accepts still meets the chains of others at the same
// hook, and a policy DROP there is final. So theirs accepts what bears our mark: a rule that iptables can list, save and
// restore, and that never changes again.

/** linux/netfilter.h, NF_INET_FORWARD. */
const forwardHook = 2;

/** The rule, as iptables itself writes it for `-m mark --mark 0x1000/0x1000 -j ACCEPT`. */
export function admission(mark: number): Statement[] {
  return [matchMarkBit(mark), counter(), verdict({kind: 'accept'})];
}

/**
 * Makes the chain FORWARD of iptables-nft accept packets with the mark, in every family given where there is such a
 * chain. Costs one question per family where there is none.
 */
export async function ensureAdmission(
  nft: NetfilterSocket,
  families: readonly Family[],
  mark: number,
): Promise<void> {
  const plan = async () =>
    (await Promise.all(families.map((family) => planAdmission(nft, family, mark)))).flat();
  // Nearly always there is nothing to do, and so no need for a generation.
  if ((await plan()).length > 0) await transact(nft, plan);
}

/** The families whose FORWARD chain lacks the rule. */
export async function findUnadmitted(
  nft: NetfilterSocket,
  families: readonly Family[],
  mark: number,
): Promise<Family[]> {
  const plans = await Promise.all(families.map((family) => planAdmission(nft, family, mark)));
  return families.filter((_, i) => plans[i]!.length > 0);
}

async function planAdmission(nft: NetfilterSocket, family: Family, mark: number): Promise<Operation[]> {
  const filter = {family: tableFamilies[family], table: 'filter'} as const;
  const forward = {...filter, chain: forwardName};
  if ((await findChain(nft, forward))?.hook !== forwardHook) return [];
  const rules = await listRules(nft, forward);
  if (rules.some((each) => isAdmission(each, mark))) return [];
  const rule = {statements: admission(mark), comment: admissionComment};
  const place = (chain: ChainRef, before: RuleInfo | undefined) =>
    before ? insertRule({...chain, ...rule, before: before.handle}) : addRule({...chain, ...rule});
  const reference = rules.findLastIndex((each) => referenceJumps.includes(findTarget(each) ?? ''));
  if (reference >= 0) return [place(forward, rules[reference + 1])];
  // Where Docker was removed its chain may have stayed, with nothing that leads there.
  if (!rules.some((each) => findTarget(each) === dockerName)) return [insertRule({...forward, ...rule})];
  const docker = {...filter, chain: dockerName};
  const others = await listRules(nft, docker);
  if (others.some((each) => isAdmission(each, mark))) return [];
  // What the administrator drops there stays dropped.
  return [place(docker, others.find(isReturn))];
}

/** Whether a rule accepts packets with the mark: ours, or the administrator's, who may count them or not. */
export function isAdmission(rule: RuleInfo, mark: number): boolean {
  const wanted = [matchMarkBit(mark), verdict({kind: 'accept'})];
  // As iptables-restore writes it back, the comment is a match.
  const expressions = rule.expressions.filter(
    ({name, data}) => name !== 'counter' && !(name === 'match' && 'name' in data && data.name === 'comment'),
  );
  return matchesRule(wanted, {...rule, expressions});
}

/** A RETURN of all that comes so far. */
function isReturn({expressions}: RuleInfo): boolean {
  const [only, ...more] = expressions.filter(({name}) => name !== 'counter');
  return only?.name === 'immediate' && more.length === 0 && parseVerdict(only.data.data)?.kind === 'return';
}
