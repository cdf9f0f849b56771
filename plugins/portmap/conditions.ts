import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Family} from '../../lib/ip/address.ts';
import type {Statement} from '../../lib/netlink/nft/rule.ts';
import {parseMatch} from './condition-match.ts';
import {TokenReader} from './condition-tokens.ts';

/**
 * When a mapping counts: at least one of these rules' statements all match. nft's braces become rules of their own.
 */
export interface Condition {
  readonly alternatives: readonly (readonly Statement[])[];
}

const mostRules = 64;
const familyOf = {conditionsV4: 4, conditionsV6: 6} as const satisfies Record<string, Family>;

/**
 * Reads conditions in a subset of nft's language (README.md lists it); the strings of the list are one text. `undefined` for
 * an empty list. Throws CniError 7 that names the key and the words it does not understand.
 */
export function parseConditions(key: keyof typeof familyOf, words: readonly string[]): Condition | undefined {
  const reader = new TokenReader(words.join(' '));
  let alternatives: Statement[][] = [[]];
  try {
    if (reader.atEnd) return undefined;
    while (!reader.atEnd) {
      const match = parseMatch(reader, familyOf[key]);
      alternatives = alternatives.flatMap((one) => match.map((other) => [...one, ...other]));
      if (alternatives.length > mostRules)
        throw new Error(`its lists in braces make more than ${mostRules} rules`);
    }
  } catch (error) {
    throw new CniError(
      errorCodes.invalidConfig,
      `${key}: ${(error as Error).message} in "${words.join(' ')}"`,
      'understood are: ip|ip6 saddr|daddr, iifname, ether saddr|daddr, meta mark|l4proto, ct state|mark, tcp|udp|sctp|th ' +
        'sport|dport, with == or !=, ranges and lists in braces; conditions of iptables begin with "-" or "!"',
    );
  }
  return {alternatives};
}
