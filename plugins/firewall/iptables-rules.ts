import type {Ip} from '../../lib/ip/address.ts';
import {formatCidr, hostCidr} from '../../lib/ip/cidr.ts';
import {admissionComment, dockerName, forwardName, referenceJumps} from '../../lib/nat/admission-names.ts';
import type {Policy} from './conf.ts';
import {formatMark} from './ruleset.ts';

// Rules of the filter table as iptables-save spells them. `saved` is always its output.

/** The chains of the reference. */
const privateChain = 'CNI-FORWARD';
const stage1 = 'CNI-ISOLATION-STAGE-1';
const stage2 = 'CNI-ISOLATION-STAGE-2';

/** What the iptables backend makes of the addresses of one family. */
export interface IptablesWanted {
  readonly ips: readonly Ip[];
  readonly adminChain: string;
  readonly isolation: {readonly policy: Policy; readonly bridge: string} | undefined;
}

interface Step {
  readonly kind: 'chain' | 'first' | 'last';
  readonly chain: string;
  readonly rule: string;
}

/** What the reference makes, step by step; what is there already is not made again. */
function planSteps({ips, adminChain, isolation}: IptablesWanted): Step[] {
  const chain = (name: string): Step => ({kind: 'chain', chain: name, rule: ''});
  const first = (name: string, rule: string): Step => ({kind: 'first', chain: name, rule});
  const last = (name: string, rule: string): Step => ({kind: 'last', chain: name, rule});
  const steps = [
    chain(privateChain),
    chain(adminChain),
    first(forwardName, `${comment('CNI firewall plugin rules')} -j ${privateChain}`),
    first(privateChain, `${comment('CNI firewall plugin admin overrides')} -j ${adminChain}`),
    ...ips.flatMap(addressRules).map((rule) => last(privateChain, rule)),
  ];
  if (!isolation) return steps;
  const {policy, bridge} = isolation;
  const note = comment(`CNI firewall plugin rules (ingressPolicy: ${policy})`);
  return [
    ...steps,
    chain(stage1),
    chain(stage2),
    first(forwardName, `${note} -j ${stage1}`),
    first(stage1, `-i ${bridge} ! -o ${bridge} ${note} -j ${stage2}`),
    ...(policy === 'isolated' ? [first(stage1, `-i ${bridge} -o ${bridge} ${note} -j DROP`)] : []),
    last(stage1, `${note} -j RETURN`),
    first(stage2, `-o ${bridge} ${note} -j DROP`),
    last(stage2, `${note} -j RETURN`),
  ];
}

function addressRules(ip: Ip): string[] {
  const address = formatCidr(hostCidr(ip));
  return [`-d ${address} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`, `-s ${address} -j ACCEPT`];
}

/** Commands that make what of it is missing in `saved`. */
export function planIptables(wanted: IptablesWanted, saved: string): string[] {
  return missingSteps(wanted, saved).map(({kind, chain, rule}) => {
    if (kind === 'chain') return `-N ${chain}`;
    return kind === 'first' ? `-I ${chain} 1 ${rule}` : `-A ${chain} ${rule}`;
  });
}

/** What of it is missing in `saved`, in the reference's words. */
export function checkIptables(wanted: IptablesWanted, saved: string): string[] {
  return missingSteps(wanted, saved).map(({kind, chain, rule}) => {
    if (kind === 'chain') return `expected chain ${chain} not found`;
    const words = rule.replaceAll('"', '');
    return kind === 'last' && chain === privateChain
      ? `expected rule [${words}] not found`
      : `expected ${chain} rule [${words}] not found`;
  });
}

function missingSteps(wanted: IptablesWanted, saved: string): Step[] {
  const lines = new Set(saved.split('\n'));
  const chains = new Set(Array.from(saved.matchAll(/^:(\S+) /gm), ([, name]) => name));
  return planSteps(wanted).filter(({kind, chain, rule}) => {
    return kind === 'chain' ? !chains.has(chain) : !lines.has(`-A ${chain} ${rule}`);
  });
}

/** Commands that remove the reference's rules for addresses from `saved`. */
export function planAddressRemoval(ips: readonly Ip[], saved: string): string[] {
  const rules = new Set(ips.flatMap(addressRules).map((rule) => `-A ${privateChain} ${rule}`));
  return saved
    .split('\n')
    .filter((line) => rules.has(line))
    .map((line) => line.replace(/^-A/, '-D'));
}

/** The command that makes FORWARD accept packets with the mark, unless `saved` has it or there is no FORWARD. */
export function planLegacyAdmission(mark: number, saved: string): string[] {
  const bits = formatMark(mark);
  const lines = saved.split('\n');
  const isAdmission = new RegExp(
    `^-A (${forwardName}|${dockerName}) -m mark --mark ${bits}/${bits} (-m comment --comment .* )?-j ACCEPT$`,
  );
  const docker = lines.some((line) => line === `-A ${forwardName} -j ${dockerName}`);
  const present = lines.some(
    (line) => isAdmission.test(line) && (docker || line.startsWith(`-A ${forwardName} `)),
  );
  if (present || !saved.includes(`\n:${forwardName} `)) return [];
  const rule = `-m mark --mark ${bits}/${bits} ${comment(admissionComment)} -j ACCEPT`;
  const forward = lines.filter((line) => line.startsWith(`-A ${forwardName} `));
  const reference = forward.findLastIndex((line) =>
    referenceJumps.some((chain) => line.endsWith(` -j ${chain}`)),
  );
  if (reference >= 0) return [`-I ${forwardName} ${reference + 2} ${rule}`];
  if (!docker) return [`-I ${forwardName} 1 ${rule}`];
  const others = lines.filter((line) => line.startsWith(`-A ${dockerName} `));
  const end = others.indexOf(`-A ${dockerName} -j RETURN`);
  // What the administrator drops there stays dropped.
  return [end < 0 ? `-A ${dockerName} ${rule}` : `-I ${dockerName} ${end + 1} ${rule}`];
}

/** Input for `iptables-restore --noflush`. */
export function formatRestore(commands: readonly string[]): string {
  return ['*filter', ...commands, 'COMMIT', ''].join('\n');
}

function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}
