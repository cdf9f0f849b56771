import {isBusy, isNotFound, isRetryable, NetlinkError} from '../../lib/netlink/error.ts';
import {deleteElements, listElements} from '../../lib/netlink/nft/element.ts';
import type {Operation} from '../../lib/netlink/nft/operation.ts';
import type {SetRef} from '../../lib/netlink/nft/set.ts';
import type {NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {findTable} from '../../lib/netlink/nft/table.ts';
import {commit} from '../../lib/netlink/nft/transaction.ts';
import type {Logger} from '../../lib/log.ts';
import {
  findIn,
  planBase,
  planChanges,
  planLeftovers,
  planLocals,
  type FrontendChange,
  type Local,
} from './changes.ts';
import type {Frontend} from './frontend.ts';
import {emptyState, readKernelState, type Links} from './kernel-state.ts';
import {planFrontend, table, type FrontendObjects} from './ruleset.ts';

// So many frontends in one transaction: the kernel is not held up for long, and a datagram stays of a size that it takes.
const mostPerTransaction = 2000;

export interface BalancerOptions {
  /** Opened when it is first used. */
  readonly nft: () => NetfilterSocket;
  readonly log: Logger;
}

/** Keeps the kernel's table of services as it shall be. Calls of one balancer come one after the other. */
export class Balancer {
  readonly #options: BalancerOptions;
  /** What the kernel has, as far as we know; undefined before the first look. */
  #known: Map<string, FrontendObjects> | undefined;
  #locals: Readonly<Record<4 | 6, Links>> = emptyState().locals;
  /** Without services there is no table. */
  #hasTable = false;
  /** What nothing leads to any more, and could not be removed at once. */
  #leftovers: Operation[] = [];
  /** Transactions made. */
  transactions = 0;

  constructor(options: BalancerOptions) {
    this.#options = options;
  }

  get frontends(): number {
    return this.#known?.size ?? 0;
  }

  /** Changes what differs between two sets of frontends of the same keys; asks the kernel for nothing. */
  async apply(changes: ReadonlyMap<string, Frontend | undefined>): Promise<void> {
    const known = this.#known;
    if (known === undefined) throw new Error('the table was not looked at yet');
    if (!this.#hasTable) await this.#makeTable({isThere: false});
    const planned = [...changes].map(([key, frontend]) => ({
      key,
      before: known.get(key),
      after: frontend && planFrontend(frontend),
    }));
    for (let at = 0; at < planned.length; at += mostPerTransaction) {
      const piece = planned.slice(at, at + mostPerTransaction);
      await this.#change(piece);
      for (const {after} of piece) if (after?.kept) await this.#forgetKept(after.kept, after.targets);
      for (const {key, after} of piece) {
        if (after) known.set(key, after);
        else known.delete(key);
      }
    }
  }

  /** Brings the map of instances beside their clients in line. */
  async applyLocals(locals: readonly Local[]): Promise<void> {
    const operations = planLocals(this.#locals, locals);
    if (operations.length === 0) return;
    await this.#commit(operations);
    const next = emptyState().locals;
    for (const {family, key, chain} of locals)
      next[family].set(Buffer.from(key).toString('hex'), chain.chain);
    this.#locals = next;
  }

  /** Looks at the whole table, and changes what is not as it shall be. Tells how many frontends were not. */
  async resync(frontends: readonly Frontend[]): Promise<number> {
    const {nft} = this.#options;
    let state = await readKernelState(nft());
    if (state === undefined) {
      const isThere = (await findTable(nft(), table)) !== undefined;
      if (frontends.length === 0 && !isThere) {
        this.#forget();
        return 0;
      }
      await this.#makeTable({isThere});
      state = emptyState();
    }
    this.#hasTable = true;
    this.#locals = state.locals;
    const wanted = new Map(frontends.map((frontend) => [frontend.key, planFrontend(frontend)]));
    const leftovers = planLeftovers(state, [...wanted.values()]);
    const found = state;
    const changes = [...wanted.values()]
      .map((after) => ({before: findIn(found, after), after}))
      .filter(({before, after}) => !isSame(before, after));
    if (leftovers.additions.length > 0) await this.#commit(leftovers.additions);
    for (let at = 0; at < changes.length; at += mostPerTransaction) {
      await this.#change(changes.slice(at, at + mostPerTransaction));
    }
    for (const {kept, targets} of wanted.values()) if (kept) await this.#forgetKept(kept, targets);
    // Behind the changes: what they replaced may be among them.
    await this.#remove(leftovers.removals);
    this.#known = wanted;
    return changes.length;
  }

  /** Tries again to remove what the kernel still held. */
  async sweep(): Promise<void> {
    if (this.#leftovers.length > 0) await this.#remove([]);
  }

  /** Sources that keep a destination which is gone choose anew. */
  async #forgetKept(kept: SetRef, targets: readonly Uint8Array[]): Promise<void> {
    const known = new Set(targets.map((target) => Buffer.from(target).toString('hex')));
    const elements = await listElements(this.#options.nft(), kept);
    const stale = elements.filter(({data}) => data && !known.has(Buffer.from(data).toString('hex')));
    for (const {key} of stale) {
      try {
        await this.#commit([deleteElements(kept, [key])]);
      } catch (error) {
        // Its time was up meanwhile.
        if (!isNotFound(error)) throw error;
      }
    }
  }

  async #makeTable({isThere}: {readonly isThere: boolean}): Promise<void> {
    await this.#commit(planBase({isThere}));
    this.#hasTable = true;
  }

  #forget(): void {
    this.#hasTable = false;
    this.#known = new Map();
    this.#locals = emptyState().locals;
    this.#leftovers = [];
  }

  async #change(changes: readonly FrontendChange[]): Promise<void> {
    const {additions, removals} = planChanges(changes);
    if (additions.length === 0 && removals.length === 0) return;
    try {
      await this.#commit([...additions, ...removals]);
    } catch (error) {
      if (!(error instanceof NetlinkError) || !isBusy(error)) throw error;
      // The kernel lets go of what elements led to a moment later (before 6.2).
      await this.#commit(additions);
      this.#leftovers.push(...removals);
    }
  }

  async #remove(removals: readonly Operation[]): Promise<void> {
    const all = [...this.#leftovers, ...removals];
    this.#leftovers = [];
    if (all.length === 0) return;
    try {
      await this.#commit(all);
    } catch (error) {
      if (!(error instanceof NetlinkError)) throw error;
      // One that is gone already would keep the others for ever: the next look at the table finds what is left.
      if (!isNotFound(error)) this.#leftovers = all;
      this.#options.log.debug({error, objects: all.length}, 'what nothing leads to stays for now');
    }
  }

  async #commit(operations: readonly Operation[]): Promise<void> {
    const {nft} = this.#options;
    for (let attempt = 1; ; attempt++) {
      try {
        this.transactions++;
        return await commit(nft(), operations);
      } catch (error) {
        if (!(error instanceof NetlinkError) || !isRetryable(error) || attempt === 10) throw error;
      }
    }
  }
}

function isSame(before: NonNullable<FrontendChange['before']>, after: FrontendObjects): boolean {
  return (
    before.frontend === after.frontend &&
    before.guard === after.guard &&
    before.slots?.elements.length === after.slots?.elements.length &&
    before.sets.length === after.sets.length &&
    before.chains.length === after.chains.length
  );
}
