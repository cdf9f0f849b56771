import {addChain} from '../netlink/nft/chain.ts';
import type {Chain} from '../netlink/nft/chain.ts';
import {ensureTable} from '../netlink/nft/table.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {addRule, listRules, matchesRule} from '../netlink/nft/rule.ts';
import type {Statement} from '../netlink/nft/rule.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';

/** The one table of weft's NAT. */
export const table = {family: 'inet', table: 'weft'} as const;

/** A chain and all of its rules. */
export interface RuledChain extends Chain {
  readonly rules: readonly (readonly Statement[])[];
}

/** The table, unless it is there. */
export function ensureNatTable(): Operation {
  return ensureTable({...table, comment: 'NAT of containers, made by weft'});
}

/**
 * A chain with its rules, which must not be there yet: rules cannot be added "unless they are there", but a
 * chain can, and in the same transaction.
 */
export function chainOperations({rules, ...made}: RuledChain): Operation[] {
  const {family, table, chain} = made;
  return [addChain(made), ...rules.map((statements) => addRule({family, table, chain, statements}))];
}

/** What is wrong with a chain, as a sentence; `undefined` when it has the rules it should have, and no others. */
export async function checkChain(nft: NetfilterSocket, chain: RuledChain): Promise<string | undefined> {
  const found = await listRules(nft, chain);
  const same =
    found.length === chain.rules.length &&
    chain.rules.every((statements, i) => matchesRule(statements, found[i]!));
  const name = `${chain.family} ${chain.table} ${chain.chain}`;
  return same ? undefined : `chain ${name} is missing or has not the rules it should have`;
}
