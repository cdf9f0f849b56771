import {allDone} from '../../lib/cni/every.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import {isDenied, isUnsupported, NetlinkError} from '../../lib/netlink/error.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {ensureAdmission} from '../../lib/nat/admission.ts';
import type {Backend} from './conf.ts';
import {findForeignChains} from './foreign-chains.ts';
import {checkIptablesBackend, ensureIptables} from './iptables.ts';
import {checkAdmission, ensureLegacyAdmission} from './host-admission.ts';
import {familiesOf} from './leftovers.ts';
import {checkAdmitted, ensureAdminChain, ensureAdmitted} from './nft.ts';
import type {Wanted} from './nft.ts';

/** What an attachment's traffic is let through with. */
export interface Choice {
  readonly backend: Exclude<Backend, 'firewalld'>;
  /** By the configuration, or because nothing was said. */
  readonly isChosen: boolean;
  /** firewalld as well: then a kernel without nftables is none of our business. */
  readonly withFirewalld: boolean;
}

/** Lets an attachment's traffic through. Idempotent. */
export async function ensureFirewall(call: Call, host: Host, choice: Choice, wanted: Wanted): Promise<void> {
  await withBackend(call, choice, {
    nftables: () => ensureByNft(call, host, wanted),
    iptables: () => ensureIptables(wanted, call),
    neither: async () => {},
  });
}

/** What is missing of it, one sentence each; empty when all is as it should be. */
export function checkFirewall(call: Call, host: Host, choice: Choice, wanted: Wanted): Promise<string[]> {
  const {isChosen} = choice;
  return withBackend(call, choice, {
    nftables: async () => {
      const missing = await checkByNft(call, host, wanted);
      if (missing.length === 0 || isChosen) return missing;
      return (await isAdmittedByReference(call, wanted)) ? [] : missing;
    },
    iptables: () => checkIptablesBackend(wanted, call),
    neither: async () => [],
  });
}

/** Of a container that was attached before the node was switched over, the reference's rules do until its DEL. */
async function isAdmittedByReference(call: Call, wanted: Wanted): Promise<boolean> {
  if (!findTool('iptables-save', call)) return false;
  // Without support in the kernel it says an error, and there is nothing.
  const missing = await checkIptablesBackend(wanted, call).catch(() => undefined);
  return missing?.length === 0;
}

async function withBackend<T>(
  call: Call,
  {backend, withFirewalld}: Choice,
  how: Readonly<Record<Choice['backend'] | 'neither', () => Promise<T>>>,
): Promise<T> {
  if (backend === 'iptables') return how.iptables();
  try {
    return await how.nftables();
  } catch (error) {
    if (!isMissingNftables(error)) throw explain(error);
    if (withFirewalld) return how.neither();
    if (findTool('iptables-restore', call)) return how.iptables();
    throw explain(error);
  }
}

async function ensureByNft(call: Call, host: Host, wanted: Wanted): Promise<void> {
  const families = familiesOf(wanted.ips);
  await allDone([
    ensureOwn(call, host, wanted),
    ensureAdminChain(host.nft, wanted.adminChain),
    ensureAdmission(host.nft, families, wanted.mark),
  ]);
  // Our own iptables-legacy processes come last: nothing else need wait for them.
  await ensureLegacyAdmission(call, families, wanted.mark);
}

async function ensureOwn(call: Call, host: Host, wanted: Wanted): Promise<void> {
  const isFirst = await ensureWithPorts(call, host, wanted);
  if (isFirst) await warnOfForeignChains(call, host, wanted);
}

/** Said by the first ADD of a host, by CHECK and by STATUS: a look at all chains is too much for every ADD. */
export async function warnOfForeignChains(
  call: Call,
  host: Host,
  {ips, mark}: Pick<Wanted, 'ips' | 'mark'>,
): Promise<void> {
  const families = ips.length === 0 ? ([4, 6] as const) : familiesOf(ips);
  for (const {sentence} of await findForeignChains(host.nft, families, mark)) call.warn(sentence);
}

/** Without the filter between ports where the kernel has none. Whether it is the first of the host. */
async function ensureWithPorts(call: Call, host: Host, wanted: Wanted): Promise<boolean> {
  const {isolation} = wanted;
  if (!isolation || isolation.ports.length === 0) return ensureAdmitted(host.nft, wanted);
  try {
    return await ensureAdmitted(host.nft, wanted);
  } catch (error) {
    if (!isUnsupported(error)) throw error;
    const isFirst = await ensureAdmitted(host.nft, {...wanted, isolation: {...isolation, ports: []}});
    call.warn(
      `the kernel has no nftables for bridges: containers of "${isolation.bridge}" are isolated from each other only where ` +
        'br_netfilter is loaded and net.bridge.bridge-nf-call-iptables is 1',
    );
    return isFirst;
  }
}

async function checkByNft(call: Call, host: Host, wanted: Wanted): Promise<string[]> {
  const families = familiesOf(wanted.ips);
  const [missing, unadmitted, foreign] = await Promise.all([
    checkAdmitted(host.nft, wanted),
    checkAdmission(call, host, families, wanted.mark),
    findForeignChains(host.nft, families, wanted.mark),
  ]);
  const sentences = [...missing, ...unadmitted];
  for (const {sentence, mayAdmit} of foreign) {
    // What its other rules let through cannot be told.
    if (mayAdmit) call.warn(sentence);
    else sentences.push(sentence);
  }
  return sentences;
}

/** Adds to an error of the kernel what the operator can do about it. */
export function explain(error: unknown, code: number = errorCodes.internal): unknown {
  if (isMissingNftables(error)) {
    return new CniError(
      code,
      'firewall: this kernel has no nftables',
      'load the module nf_tables, or install iptables and set "backend": "iptables"',
      {cause: error},
    );
  }
  if (isDenied(error)) {
    return new CniError(
      code,
      'firewall: the kernel does not let this process change nftables (EPERM)',
      "CAP_NET_ADMIN is needed in the user namespace that owns the host's network namespace",
      {cause: error},
    );
  }
  if (error instanceof NetlinkError && error.code === 'ENOENT') {
    return new CniError(
      code,
      `firewall: ${error.message}`,
      'the kernel lacks a part of nftables: load nf_tables, nft_ct and nf_conntrack, or set "backend": "iptables"',
      {cause: error},
    );
  }
  return error;
}
