import type {Network} from '../../lib/cni/runtime/network.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {Host} from '../../lib/host.ts';
import {isNotFound, isUnsupported, NetlinkError} from '../../lib/netlink/error.ts';
import {listBaseChains} from '../../lib/netlink/nft/chain.ts';
import {about, type Finding} from './finding.ts';

const families = ['ip', 'ip6', 'inet'] as const;

/** Firewalls of others that drop what containers send, and whether the networks have the plugin that deals with it. */
export async function checkFirewall(host: Host, networks: readonly Network[]): Promise<readonly Finding[]> {
  const {ok, problem} = about('firewall');
  const closed = await listClosedChains(host);
  if (closed.length === 0) return [ok('nothing drops forwarded packets by policy')];
  const open = networks.filter((network) => !hasFirewall(network)).map(({name}) => `"${name}"`);
  const where = closed.join(', ');
  if (open.length === 0)
    return [ok(`${where} has the policy drop, and every network has the plugin firewall`)];
  return [
    problem(
      `${where} has the policy drop: containers of ${open.join(', ')} reach nothing beyond this host`,
      'add {"type": "firewall"} to the plugins of the network, behind the one that makes the interface',
    ),
  ];
}

async function listClosedChains({nft}: Host): Promise<string[]> {
  const lists = await Promise.all(
    families.map(async (family) => {
      try {
        const chains = await listBaseChains(nft, {family, hook: 'forward'});
        return chains
          .filter(({policy, type}) => policy === 'drop' && type === 'filter')
          .map(({table, chain}) => `the chain ${family} ${table} ${chain}`);
      } catch (error) {
        // A kernel without nftables, or without this family.
        if (error instanceof NetlinkError && (isUnsupported(error) || isNotFound(error))) return [];
        throw error;
      }
    }),
  );
  return lists.flat();
}

const hasFirewall = ({plugins}: Network) => plugins.some((plugin) => findKey(plugin, 'type') === 'firewall');
