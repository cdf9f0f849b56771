import type {Owner} from '../../lib/cni/owner.ts';
import {formatIp} from '../../lib/ip/address.ts';
import type {Family} from '../../lib/ip/address.ts';
import {formatCidr, hostCidr, isDefault, subnetOf} from '../../lib/ip/cidr.ts';
import {iptablesChainName} from '../../lib/nat/names.ts';
import type {Forward, Mapping} from './mapping.ts';
import {dnatComment, parseDnatComment, topChains} from './reference-names.ts';
import type {ChainPrefix} from './reference-names.ts';

/** What the reference's chains are to say for the mappings of one family. */
export interface IptablesForwarding {
  readonly owner: Owner;
  readonly family: Family;
  readonly forwards: readonly Forward[];
  /** Also those of the other family: in the rules that lead to the chain the reference lists all ports. */
  readonly mappings: readonly Pick<Mapping, 'protocol' | 'hostPort'>[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  readonly markBit: number;
  readonly externalSetMarkChain: string | undefined;
  /** Further matches, one word each, as on iptables' command line. */
  readonly matches: readonly string[];
}

/** Rules of the reference, spelled as iptables-save prints them. */
export interface IptablesPlan {
  readonly chain: string;
  /** Chains that all containers share, and the rules that have to be in them or lead to them. */
  readonly sharedChains: readonly string[];
  readonly sharedRules: readonly string[];
  /** Rules that lead to the container's chain, then those in it. */
  readonly rules: readonly string[];
}

type Names = Pick<Owner, 'network' | 'containerId'>;

const setMark = 'CNI-HOSTPORT-SETMARK';
const masq = 'CNI-HOSTPORT-MASQ';
const dnat = topChains['DN-'];
const mostPortsPerRule = 15;
const sharedEntry = '-m addrtype --dst-type LOCAL';
const masqEntry = `-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j ${masq}`;

export function planIptables(wanted: IptablesForwarding): IptablesPlan {
  const {owner, snat, markBit, externalSetMarkChain} = wanted;
  const chain = iptablesChainName(owner.network, owner.containerId, 'DN-');
  const mark = `0x${((1 << markBit) >>> 0).toString(16)}`;
  const marks = snat && externalSetMarkChain === undefined;
  return {
    chain,
    sharedChains: [dnat, ...(marks ? [setMark, masq] : [])],
    sharedRules: [
      ...['PREROUTING', 'OUTPUT'].map((hook) => `-A ${hook} ${sharedEntry} -j ${dnat}`),
      ...(marks
        ? [
            `-A ${setMark} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}/${mark}`,
            `-A ${masq} -m mark --mark ${mark}/${mark} -j MASQUERADE`,
            masqEntry,
          ]
        : []),
    ],
    rules: [
      ...planEntries(wanted, chain),
      ...wanted.forwards.flatMap((forward) => planForward(wanted, forward, chain)),
    ],
  };
}

/** One rule for each protocol and fifteen ports: more iptables' multiport does not take. */
function planEntries({owner, mappings, matches}: IptablesForwarding, chain: string): string[] {
  const ports = new Map<string, number[]>();
  for (const {protocol, hostPort} of mappings) {
    ports.set(protocol, [...(ports.get(protocol) ?? []), hostPort]);
  }
  const comment = `-m comment --comment ${quote(dnatComment(owner), {always: true})}`;
  const more = matches.map((word) => ` ${quote(word)}`).join('');
  return [...ports]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([protocol, all]) => {
      const rules: string[] = [];
      for (let at = 0; at < all.length; at += mostPortsPerRule) {
        const some = all.slice(at, at + mostPortsPerRule).join(',');
        rules.push(`-A ${dnat} -p ${protocol} ${comment} -m multiport --dports ${some}${more} -j ${chain}`);
      }
      return rules;
    });
}

function planForward(
  {snat, masqAll, externalSetMarkChain = setMark}: IptablesForwarding,
  {family, protocol, hostPort, hostIp, container, containerPort}: Forward,
  chain: string,
): string[] {
  const to = hostIp ? `-d ${formatCidr(hostCidr(hostIp))} ` : '';
  const port = `${to}-p ${protocol} -m ${protocol} --dport ${hostPort}`;
  const subnet = subnetOf(container);
  const from = masqAll || isDefault(subnet) ? '' : `-s ${formatCidr(subnet)} `;
  const address = family === 4 ? formatIp(container.ip) : `[${formatIp(container.ip)}]`;
  return [
    ...(snat ? [`-A ${chain} ${from}${port} -j ${externalSetMarkChain}`] : []),
    ...(snat && !masqAll && family === 4
      ? [`-A ${chain} -s 127.0.0.1/32 ${port} -j ${externalSetMarkChain}`]
      : []),
    `-A ${chain} ${port} -j DNAT --to-destination ${address}:${containerPort}`,
  ];
}

/**
 * Input for `iptables-restore --noflush`: everything or, where a shared chain is not as it should be or the
 * container's is there already, nothing.
 */
export function formatNew({chain, sharedRules, rules}: IptablesPlan): string {
  return formatRestore([...sharedRules.map((rule) => rule.replace(/^-A/, '-C')), `-N ${chain}`, ...rules]);
}

/** Input that makes what of a plan is missing in `saved` (output of iptables-save), and the container's rules anew. */
export function formatRepair({chain, sharedChains, sharedRules, rules}: IptablesPlan, saved: string): string {
  const lines = new Set(saved.split('\n'));
  const missingChains = sharedChains.filter((shared) => !hasChain(shared, saved));
  const missingRules = sharedRules.filter((rule) => !lines.has(rule));
  return formatRestore([
    ...missingChains.map((shared) => `-N ${shared}`),
    // What needs masquerading must not be caught by somebody else's rule before.
    ...missingRules.map((rule) =>
      rule === masqEntry ? rule.replace('-A POSTROUTING', '-I POSTROUTING 1') : rule,
    ),
    ...jumpsTo(chain, saved).map((rule) => rule.replace(/^-A/, '-D')),
    hasChain(chain, saved) ? `-F ${chain}` : `-N ${chain}`,
    ...rules,
  ]);
}

/** What of a plan `saved` lacks, one sentence each. */
export function findMissing({chain, sharedRules, rules}: IptablesPlan, saved: string): string[] {
  const lines = new Set(saved.split('\n'));
  const missing = sharedRules.filter((rule) => !lines.has(rule));
  const own = rules.filter((rule) => rule.startsWith(`-A ${chain} `) && !lines.has(rule));
  const entries = rules.filter((rule) => rule.startsWith(`-A ${dnat} `)).length;
  const found = jumpsTo(chain, saved).length;
  return [
    ...[...missing, ...own].map((rule) => `the rule "${rule}" is missing`),
    // How iptables-save spells what "conditionsV4" says is not known.
    ...(found < entries ? [`${entries - found} of ${entries} rules that lead to ${chain} are missing`] : []),
  ];
}

/** Input that removes from what `saved` shows the mappings of one container; `undefined` when there are none. */
export function formatRemoval({network, containerId}: Names, saved: string): string | undefined {
  const lines: string[] = [];
  for (const prefix of Object.keys(topChains) as ChainPrefix[]) {
    const chain = iptablesChainName(network, containerId, prefix);
    if (!hasChain(chain, saved)) continue;
    lines.push(
      ...jumpsTo(chain, saved).map((rule) => rule.replace(/^-A/, '-D')),
      `-F ${chain}`,
      `-X ${chain}`,
    );
  }
  return lines.length === 0 ? undefined : formatRestore(lines);
}

/** Containers whose mappings in `network` are in `saved`. */
export function parseContainers(network: string, saved: string): string[] {
  const ids = new Set<string>();
  for (const [, quoted] of saved.matchAll(
    /^-A CNI-HOSTPORT-[DS]NAT .*--comment "((?:[^"\\]|\\.)*)".* -j CNI-[DS]N-\S+$/gm,
  )) {
    const names = parseDnatComment(quoted!.replaceAll(/\\(.)/g, '$1'));
    if (names?.network === network) ids.add(names.containerId);
  }
  return [...ids];
}

function jumpsTo(chain: string, saved: string): string[] {
  return saved.split('\n').filter((line) => line.startsWith('-A ') && line.endsWith(` -j ${chain}`));
}

function hasChain(chain: string, saved: string): boolean {
  return saved.includes(`\n:${chain} `);
}

function formatRestore(lines: readonly string[]): string {
  return ['*nat', ...lines, 'COMMIT', ''].join('\n');
}

function quote(word: string, {always = false}: {readonly always?: boolean} = {}): string {
  if (!always && /^[\w!./:,=+-]+$/.test(word)) return word;
  return `"${word.replaceAll(/["\\]/g, '\\$&').replaceAll(/[\r\n]/g, ' ')}"`;
}
