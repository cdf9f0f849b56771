import {CniError, errorCodes} from '../cni/error.ts';
import {everyStep} from '../cni/every.ts';
import type {Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import type {Host} from '../host.ts';
import type {Cidr} from '../ip/cidr.ts';
import {isDenied, NetlinkError} from '../netlink/error.ts';
import {isMissingNftables} from '../netlink/nft/socket.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {transact} from '../netlink/nft/transaction.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {findTool} from './iptables-command.ts';
import type {IptablesOptions} from './iptables-command.ts';
import {checkIptablesMasquerade, ensureIptablesMasquerade} from './iptables.ts';
import {checkNftMasquerade, ensureNftMasquerade} from './masquerade-nft.ts';
import type {Masquerade} from './masquerade-nft.ts';
import {planNftCollection, planNftRemoval} from './masquerade-removal.ts';
import {hasReferenceRules, planReferenceCollection, planReferenceRemoval} from './reference-nft.ts';
import {collectLegacyMasquerade, removeLegacyMasquerade} from './reference-legacy.ts';

/** The two ways to masquerade ("ipMasqBackend"). */
export type MasqueradeBackend = 'nftables' | 'iptables';

/** With what to masquerade. */
export interface MasqueradeOptions extends IptablesOptions {
  /** nftables by default, and iptables where the kernel has no nftables. */
  readonly backend?: MasqueradeBackend | undefined;
}

type NatHost = Pick<Host, 'nft'>;

/**
 * Makes what comes from `ips` and leaves their subnet appear as coming from the host. Idempotent; an address
 * that another attachment left behind is taken over.
 */
export async function ensureMasquerade(
  host: NatHost,
  wanted: Masquerade,
  options: MasqueradeOptions = {},
): Promise<void> {
  if (wanted.ips.length === 0) return;
  await withBackend(options, {
    nftables: () => ensureNftMasquerade(host.nft, wanted),
    iptables: () => ensureIptablesMasquerade(wanted, options),
  });
}

/**
 * What is missing of the masquerading, one sentence each; empty when all is as it should be. Where no backend is
 * named, the rules that the reference made for a container before the node was switched over do as well.
 */
export async function checkMasquerade(
  host: NatHost,
  wanted: Masquerade,
  options: MasqueradeOptions = {},
): Promise<string[]> {
  if (wanted.ips.length === 0) return [];
  return withBackend(options, {
    nftables: async () => {
      const missing = await checkNftMasquerade(host.nft, wanted);
      if (missing.length === 0 || options.backend !== undefined) return missing;
      return (await isMasqueradedByReference(host, wanted, options)) ? [] : missing;
    },
    iptables: () => checkIptablesMasquerade(wanted, options),
  });
}

/** In iptables, nft or legacy, or in the table of its nftables backend. */
async function isMasqueradedByReference(
  host: NatHost,
  wanted: Masquerade,
  options: MasqueradeOptions,
): Promise<boolean> {
  if (await hasReferenceRules(host.nft, wanted.owner, wanted.ips.length)) return true;
  if (!findTool('iptables-save', options)) return false;
  const {owner, ips} = wanted;
  // Without support in the kernel it says an error, and there is nothing.
  const missing = await checkIptablesMasquerade({owner, ips}, options).catch(() => undefined);
  return missing?.length === 0;
}

async function withBackend<T>(
  options: MasqueradeOptions,
  backends: Record<MasqueradeBackend, () => Promise<T>>,
): Promise<T> {
  if (options.backend === 'iptables') return backends.iptables();
  try {
    return await backends.nftables();
  } catch (error) {
    if (isMissingNftables(error) && findTool('iptables-restore', options)) return backends.iptables();
    throw explain(error);
  }
}

export interface CollectionOptions extends IptablesOptions {
  /** `false`: do not look into iptables-legacy, which costs a process where its nat table is in use. */
  readonly reference?: boolean | undefined;
}

export interface RemovalOptions extends CollectionOptions {
  /** The attachment's addresses; without them (no previous result) the maps are searched for the owner. */
  readonly ips?: readonly Cidr[] | undefined;
}

/**
 * Removes the masquerading of one attachment, whichever backend, release or reference plugin made it. Nothing
 * there is success. Throws after everything was tried.
 */
export async function removeMasquerade(
  host: NatHost,
  owner: Owner,
  options: RemovalOptions = {},
): Promise<void> {
  const {ips, reference = true} = options;
  await removeAll(host, {
    what: `remove the masquerading of ${owner.containerId} in ${owner.network}`,
    plans: [(nft) => planNftRemoval(nft, owner, ips), (nft) => planReferenceRemoval(nft, owner, ips)],
    legacy: async () => (reference ? removeLegacyMasquerade(owner, options) : undefined),
  });
}

/**
 * Removes the masquerading of all attachments of `network` that are not in `keep`, and what of it nothing uses any
 * more. Throws after everything was tried.
 */
export async function gcMasquerade(
  host: NatHost,
  network: string,
  keep: readonly Attachment[],
  options: CollectionOptions = {},
): Promise<void> {
  const {reference = true} = options;
  await removeAll(host, {
    what: `collect the masquerading of ${network}`,
    plans: [
      (nft) => planNftCollection(nft, network, keep),
      (nft) => planReferenceCollection(nft, network, keep),
    ],
    legacy: async () => (reference ? collectLegacyMasquerade(network, keep, options) : undefined),
  });
}

interface Removal {
  readonly what: string;
  readonly plans: readonly ((nft: NetfilterSocket) => Promise<readonly Operation[]>)[];
  readonly legacy: () => Promise<void>;
}

async function removeAll(host: NatHost, {what, plans, legacy}: Removal): Promise<void> {
  const remove = async (some: Removal['plans']) => {
    await transact(host.nft, async () => (await Promise.all(some.map((plan) => plan(host.nft)))).flat());
  };
  const explained = (step: () => Promise<void>) => async () => {
    try {
      await step();
    } catch (error) {
      // A kernel without nftables holds nothing in it.
      if (!isMissingNftables(error)) throw new Error(what, {cause: explain(error)});
    }
  };
  // Together in one transaction; if that fails one by one, so that what cannot be removed keeps nothing else.
  const together = () => remove(plans);
  const apart = () => everyStep(plans.map((plan) => explained(() => remove([plan]))));
  await everyStep([() => together().catch(apart), explained(legacy)]);
}

/** Adds to an error of the kernel what the operator can do about it. */
function explain(error: unknown): unknown {
  if (isMissingNftables(error)) {
    return new CniError(
      errorCodes.internal,
      'ipMasq: this kernel has no nftables',
      'load the module nf_tables, or install iptables and set "ipMasqBackend": "iptables"',
      {cause: error},
    );
  }
  if (isDenied(error)) {
    return new CniError(
      errorCodes.internal,
      'ipMasq: the kernel does not let this process change nftables (EPERM)',
      "CAP_NET_ADMIN is needed in the user namespace that owns the host's network namespace",
      {cause: error},
    );
  }
  if (error instanceof NetlinkError && error.code === 'ENOENT') {
    return new CniError(
      errorCodes.internal,
      `ipMasq: ${error.message}`,
      'the kernel lacks a part of nftables: load nft_chain_nat and nft_masq, or set "ipMasqBackend": "iptables"',
      {cause: error},
    );
  }
  return error;
}
