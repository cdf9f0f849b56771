import type {Host} from '../../../lib/host.ts';
import {formatCidr, overlap} from '../../../lib/ip/cidr.ts';
import {isMissingNftables} from '../../../lib/netlink/nft/socket.ts';
import {listRules} from '../../../lib/netlink/nft/rule.ts';
import {isNotFound} from '../../../lib/netlink/error.ts';
import {checkRuleset, ensureRuleset} from '../../../lib/overlay/ensure-ruleset.ts';
import {rulesetTable, type RulesetOptions} from '../../../lib/overlay/ruleset.ts';
import type {Desired} from '../../../lib/overlay/state.ts';
import type {VxlanConf} from '../conf.ts';
import {listRecords} from './record.ts';

/** The bit of a packet's mark that the host's own FORWARD accepts: the one of the plugin `firewall`. */
const forwardMark = 0x1000;

type RulesetConf = Pick<VxlanConf, 'masquerade' | 'exemptDestinations' | 'filter' | 'runDir' | 'network'>;

/** Throws where another network of this host has the same addresses: each would take the other's routes for its own leavings. */
export async function refuseOverlap(
  host: Host,
  {network}: Pick<Desired, 'network'>,
  conf: RulesetConf,
): Promise<void> {
  for (const {name, ranges} of listRecords(conf)) {
    if (name === conf.network) continue;
    const [own, other] =
      network.ranges
        .flatMap((range) => ranges.map((each) => [range, each] as const))
        .find((pair) => overlap(...pair)) ?? [];
    // One that was given up since the host was started has no table any more.
    if (!own || !other || !(await hasStaticRuleset(host, {...conf, network: name}))) continue;
    throw new Error(
      `network "${conf.network}" has ${formatCidr(own)}, and network "${name}" of this host ${formatCidr(other)}: give each its own ` +
        `range; if "${name}" is no longer used, remove its table (nft delete table inet ${rulesetTable(name).table}) and its devices`,
    );
  }
}

/**
 * The network's table of nftables: packets from the hosts of the list alone, masquerading, a way through the host's own firewall,
 * and none to other networks of this kind. Throws where the kernel has no nftables and something of it was asked for.
 */
export async function ensureStaticRuleset(host: Host, desired: Desired, conf: RulesetConf): Promise<void> {
  const {masquerade, filter} = conf;
  try {
    await ensureRuleset(host.nft, desired, optionsOf(conf));
  } catch (error) {
    if (!isMissingNftables(error)) throw error;
    if (!masquerade && !filter) return;
    throw new Error(
      'this kernel has no nftables; load nf_tables, or set "masquerade" and "filter" to false',
      {cause: error},
    );
  }
}

function optionsOf(conf: RulesetConf): RulesetOptions {
  const {masquerade, exemptDestinations, filter} = conf;
  return {
    filter,
    ...(masquerade && {masquerade: {exempt: exemptDestinations}}),
    forwardMark,
    apartFrom: listRecords(conf).filter(({name}) => name !== conf.network),
  };
}

/** What of the table is not as it should be, in sentences. */
export async function diffStaticRuleset(
  host: Host,
  desired: Desired,
  conf: RulesetConf,
): Promise<readonly string[]> {
  try {
    return await checkRuleset(host.nft, desired, optionsOf(conf));
  } catch (error) {
    if (isMissingNftables(error) && !conf.masquerade && !conf.filter) return [];
    throw error;
  }
}

/** Whether the table is there, and has rules; whether they are the right ones, CHECK looks. One question. */
export async function hasStaticRuleset(
  host: Host,
  {masquerade, filter, network}: Pick<RulesetConf, 'masquerade' | 'filter' | 'network'>,
): Promise<boolean> {
  try {
    const rules = await listRules(host.nft, {...rulesetTable(network), chain: 'forward'});
    return rules.length > 0;
  } catch (error) {
    if (isNotFound(error)) return false;
    if (isMissingNftables(error) && !masquerade && !filter) return true;
    throw error;
  }
}
