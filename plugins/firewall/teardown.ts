import {everyStep} from '../../lib/cni/every.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import type {Ip} from '../../lib/ip/address.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {without} from './attachment.ts';
import {explain} from './backend.ts';
import type {Firewalld} from './firewalld.ts';
import {removeAddressRules, removeLegacyAddressRules} from './leftovers.ts';
import {planRemoval} from './removal.ts';
import type {Known, Removal} from './removal.ts';

/** Whose traffic is let through no longer. */
export interface Leaving {
  readonly owner: Owner;
  /** What a previous result says; without one, our own tables are searched. */
  readonly known: Known | undefined;
  readonly zone: string;
  readonly firewalld: Firewalld | undefined;
}

/**
 * Removes what any backend, of ours or of the reference, made for an attachment. Nothing there is success. Throws after
 * everything was tried.
 */
export async function removeAttachment(call: Call, host: Host, leaving: Leaving): Promise<void> {
  const {owner, known, zone, firewalld} = leaving;
  let ips: readonly Ip[] = known?.ips ?? [];
  await everyStep([
    () =>
      transactRemoval(host, async () => {
        const plan = await planRemoval(host.nft, owner, known);
        // An address that another attachment has by now is none of ours.
        ips = known ? without(known.ips, plan.taken) : plan.ips;
        return plan;
      }),
    () => removeByAddress(call, host, {ips, zone, firewalld}),
  ]);
}

/** One transaction for what `plan` finds. A kernel without nftables holds nothing in it. */
export async function transactRemoval(host: Host, plan: () => Promise<Removal>): Promise<void> {
  try {
    await transact(host.nft, async () => (await plan()).operations);
  } catch (error) {
    if (!isMissingNftables(error)) throw explain(error);
  }
}

/** What knows no owner, only addresses. */
export async function removeByAddress(
  call: Call,
  host: Host,
  {ips, zone, firewalld}: {readonly ips: readonly Ip[]} & Pick<Leaving, 'zone' | 'firewalld'>,
): Promise<void> {
  if (ips.length === 0) return;
  await everyStep([
    async () => {
      try {
        await removeAddressRules(host.nft, ips);
      } catch (error) {
        if (!isMissingNftables(error)) throw explain(error);
      }
    },
    () => removeLegacyAddressRules(ips, call),
    async () => {
      // As with the reference, firewalld's refusals fail nothing: its rules go when it does.
      for (const refusal of (await firewalld?.remove(zone, ips)) ?? [])
        call.log.warn({zone, refusal}, 'firewalld');
    },
  ]);
}
