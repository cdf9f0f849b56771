import type {Network} from '../../lib/cni/runtime/network.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Host} from '../../lib/host.ts';
import {isNotFound, isUnsupported, NetlinkError} from '../../lib/netlink/error.ts';
import {listRules, type RuleInfo} from '../../lib/netlink/nft/rule.ts';
import {parseVerdict} from '../../lib/netlink/nft/verdict.ts';
import {about, type Finding} from './finding.ts';

/**
 * Rules of iptables that keep packets from being masqueraded: they end iptables' own chain, where the reference plugins masquerade. Ours is
 * another, which they do not end.
 */
export async function checkExemptions(
  {nft}: Host,
  networks: readonly Network[],
): Promise<readonly Finding[]> {
  const masqueraded = networks
    .filter(({plugins}) => plugins.some(isMasqueraded))
    .map(({name}) => `"${name}"`);
  if (masqueraded.length === 0) return [];
  const {warning} = about('masquerade');
  const counts = await Promise.all(
    (['ip', 'ip6'] as const).map(async (family) => {
      try {
        const rules = await listRules(nft, {family, table: 'nat', chain: 'POSTROUTING'});
        return {family, count: rules.filter(isExemption).length};
      } catch (error) {
        if (error instanceof NetlinkError && (isUnsupported(error) || isNotFound(error)))
          return {family, count: 0};
        throw error;
      }
    }),
  );
  return counts.flatMap(({family, count}) =>
    count === 0
      ? []
      : [
          warning(
            `${count} rules of ${family} nat POSTROUTING end that chain, which keeps nothing from being masqueraded in ${masqueraded.join(', ')}`,
            'say the same with "exemptDestinations" of the plugin, or use "ipMasqBackend": "iptables"',
          ),
        ],
  );
}

function isMasqueraded(plugin: Network['plugins'][number]): boolean {
  return findKey(plugin, 'ipMasq') === true && findKey(plugin, 'ipMasqBackend') !== 'iptables';
}

function isExemption({expressions}: RuleInfo): boolean {
  return expressions.some((expression) => {
    if (expression.name !== 'immediate') return false;
    const kind = parseVerdict(expression.data.data)?.kind;
    return kind === 'accept' || kind === 'return';
  });
}
