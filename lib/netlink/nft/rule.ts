import {array, attrs} from '../attrs.ts';
import {string, u64be} from '../codec.ts';
import {Flag} from '../message.ts';
import type {NetfilterSocket} from './socket.ts';
import type {ChainRef} from './chain.ts';
import {expressionCodec} from './expression.ts';
import type {Expression, OtherExpression} from './expression.ts';
import {messages, operation} from './operation.ts';
import type {Operation} from './operation.ts';
import {list} from './transaction.ts';
import {formatComment, userData} from './userdata.ts';
import {parseVerdict} from './verdict.ts';

/** enum nft_rule_attributes. */
const ruleAttrs = attrs({
  table: [1, string],
  chain: [2, string],
  handle: [3, u64be],
  expressions: [4, array(expressionCodec, {type: 1})],
  position: [6, u64be],
  userdata: [7, userData(0)],
});

/** A part of a rule: what it says in nft's language, and the expressions the kernel runs for it. */
export interface Statement {
  readonly text: string;
  readonly expressions: readonly Expression[];
}

export interface Rule extends ChainRef {
  readonly statements: readonly Statement[];
  readonly comment?: string;
}

/** A rule as the kernel has it. */
export interface RuleInfo {
  readonly handle: bigint;
  readonly expressions: readonly (Expression | OtherExpression)[];
  readonly comment?: string;
}

/** Appends a rule; one that says the same already is no error and stays. */
export function addRule(rule: Rule): Operation {
  return newRule(rule, 'add', Flag.create | Flag.append);
}

/** Puts a rule in front of all others of its chain, or in front of the one with handle `before`. */
export function insertRule(rule: Rule & {readonly before?: bigint | undefined}): Operation {
  return newRule(rule, 'insert', Flag.create, rule.before);
}

function newRule(
  {family, table, chain, statements, comment}: Rule,
  verb: string,
  flags: number,
  position?: bigint,
): Operation {
  return operation(
    {message: messages.newRule, flags, family},
    ruleAttrs,
    {
      table,
      chain,
      expressions: statements.flatMap(({expressions}) => expressions),
      position,
      userdata: comment === undefined ? undefined : {comment},
    },
    () => {
      const text = statements.map(({text}) => text).join(' ');
      const place = position === undefined ? '' : ` position ${position}`;
      return `${verb} rule ${family} ${table} ${chain}${place} ${text}${formatComment(comment)}`;
    },
  );
}

/** Deletes one rule; ENOENT where there is none of that handle. */
export function deleteRule({family, table, chain}: ChainRef, handle: bigint): Operation {
  return operation(
    {message: messages.deleteRule, family},
    ruleAttrs,
    {table, chain, handle},
    () => `delete rule ${family} ${table} ${chain} handle ${handle}`,
  );
}

/** Deletes all rules of a chain; ENOENT where there is no such chain. */
export function flushChain({family, table, chain}: ChainRef): Operation {
  return operation(
    {message: messages.deleteRule, family},
    ruleAttrs,
    {table, chain},
    () => `flush chain ${family} ${table} ${chain}`,
  );
}

/** The rules of a chain in order; none where there is no such chain. */
export async function listRules(nft: NetfilterSocket, {family, table, chain}: ChainRef): Promise<RuleInfo[]> {
  const question = operation(
    {message: messages.getRule, family},
    ruleAttrs,
    {table, chain},
    () => `list chain ${family} ${table} ${chain}`,
  );
  const rules = await list(nft, question, ruleAttrs);
  return rules.map(({handle = 0n, expressions = [], userdata}) => ({
    handle,
    expressions,
    ...(userdata?.comment !== undefined && {comment: userdata.comment}),
  }));
}

/** The chain that a rule jumps or goes to. */
export function findTarget({expressions}: RuleInfo): string | undefined {
  for (const expression of expressions) {
    if (expression.name !== 'immediate') continue;
    const verdict = parseVerdict(expression.data.data);
    if (verdict && 'chain' in verdict) return verdict.chain;
  }
  return undefined;
}

/**
 * Whether a rule of the kernel does what the statements say. Attributes that only the kernel fills in do not
 * count, nor do comments and counters' values.
 */
export function matchesRule(statements: readonly Statement[], {expressions}: RuleInfo): boolean {
  const wanted = statements.flatMap((statement) => statement.expressions);
  return wanted.length === expressions.length && wanted.every((each, i) => includes(expressions[i], each));
}

function includes(actual: unknown, wanted: unknown): boolean {
  if (wanted === undefined) return true;
  if (wanted instanceof Uint8Array)
    return actual instanceof Uint8Array && Buffer.compare(actual, wanted) === 0;
  if (typeof wanted !== 'object' || wanted === null) return actual === wanted;
  if (typeof actual !== 'object' || actual === null) return false;
  return Object.entries(wanted).every(([name, value]) =>
    includes((actual as Readonly<Record<string, unknown>>)[name], value),
  );
}
