import {isOwnTag} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import type {Call, Repair} from '../cni/plugin.ts';
import type {Host} from '../host.ts';
import {findChain} from '../netlink/nft/chain.ts';
import {findElement} from '../netlink/nft/element.ts';
import type {Element} from '../netlink/nft/element.ts';
import type {Operation} from '../netlink/nft/operation.ts';
import {formatValue} from '../netlink/nft/set-type.ts';
import {flushChain} from '../netlink/nft/rule.ts';
import {isMissingNftables} from '../netlink/nft/socket.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {transact} from '../netlink/nft/transaction.ts';
import {sameVerdict} from '../netlink/nft/verdict.ts';
import {ensureEntries} from './entries.ts';
import type {Entry, Wanted} from './entries.ts';
import {chainOperations, checkChain} from './table.ts';
import type {RuledChain} from './table.ts';

/** One thing that can be looked for, made anew and removed. */
export interface Part {
  missing(): Promise<readonly string[]>;
  restore(): Promise<void>;
  /** What removes it, for `transact`. */
  planRemoval(): Promise<readonly Operation[]>;
}

/** A plugin's repair, from the parts that an attachment has of it. */
export function repairOf(
  partsOf: (call: Call, host: Host) => readonly Part[] | Promise<readonly Part[]>,
): Repair<Host> {
  return {
    async missing(call, host) {
      const lists = (await partsOf(call, host)).map((part) => part.missing());
      return (await Promise.all(lists)).flat();
    },
    async restore(call, host) {
      for (const part of await partsOf(call, host)) await part.restore();
    },
    async takeBack(call, host, isGone) {
      const parts = await partsOf(call, host);
      await unlessMissing(() =>
        transact(host.nft, async () => {
          const plans = await Promise.all(parts.map((part) => part.planRemoval()));
          // Asked last: what another attachment of the same name adds after this makes the transaction begin again.
          return (await isGone()) ? plans.flat() : [];
        }),
      );
    },
  };
}

/** A kernel without nftables has nothing of it that could be missing. */
async function unlessMissing(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isMissingNftables(error)) throw error;
  }
}

export interface Elements<E extends Entry> {
  readonly owner: Owner;
  /** As of an ADD; `onTaken` does not matter. */
  readonly wanted: Omit<Wanted<E>, 'onTaken'>;
  readonly planRemoval: () => Promise<readonly Operation[]>;
}

/** Elements of an attachment, with the chains that they need. */
export function elementsPart<E extends Entry>(
  nft: NetfilterSocket,
  {owner, wanted, planRemoval}: Elements<E>,
): Part {
  return {
    planRemoval,
    async missing() {
      const elements = wanted.entries.map(async (entry) => {
        const {map, element} = entry;
        const found = await findElement(nft, map, element.key);
        if (found && !needsChange(entry, found, owner)) return [];
        const where = `${map.family} ${map.table} ${map.set}`;
        return [`${formatValue(map.key, element.key)} is not as it should be in ${where}`];
      });
      const chains = wanted.chains.map(async (chain) => (await checkChain(nft, chain)) ?? []);
      return (await Promise.all([...elements, ...chains])).flat();
    },
    async restore() {
      await ensureEntries<E>(nft, {
        ...wanted,
        onTaken: (entry, found) => (needsChange(entry, found, owner) ? 'replace' : 'keep'),
      });
      // What happens to chains is not found out by adding elements.
      for (const chain of wanted.chains) await restoreChain(nft, chain);
    },
  };
}

/** Gives a chain the rules that its name stands for, and no others. */
async function restoreChain(nft: NetfilterSocket, chain: RuledChain): Promise<void> {
  if ((await checkChain(nft, chain)) === undefined) return;
  await transact(nft, async () => {
    const [wrong, found] = await Promise.all([checkChain(nft, chain), findChain(nft, chain)]);
    if (wrong === undefined) return [];
    const [make, ...rules] = chainOperations(chain);
    return [found ? flushChain(chain) : make!, ...rules];
  });
}

/** Whether an element of ours says something else than it should. Others' stay as they are. */
function needsChange({element, shared}: Entry, found: Element, owner: Owner): boolean {
  if (shared === true || !isOwnTag(found.comment, owner)) return false;
  if (found.comment !== element.comment) return true;
  if (element.verdict) return !sameVerdict(found.verdict, element.verdict);
  return Buffer.compare(element.data ?? Buffer.alloc(0), found.data ?? Buffer.alloc(0)) !== 0;
}
