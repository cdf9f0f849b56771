import {LinkMonitor} from '../../lib/netlink/route/monitor.ts';
import type {Restored} from './journal.ts';

export interface LinkWatchOptions {
  /** An interface that is followed has gone, or may have before it was followed. */
  readonly onGone: (restored: Restored) => void;
  /** Something may have been missed. */
  readonly onLost: () => void;
}

/** Tells when an interface of something that was made anew is gone: its DEL was under way, perhaps. */
export class LinkWatch {
  readonly #options: LinkWatchOptions;
  #monitor: LinkMonitor | undefined;
  #followed = new Map<Restored, () => void>();
  #closed = false;

  constructor(options: LinkWatchOptions) {
    this.#options = options;
  }

  /** Follows these, and no others. Throws when the kernel cannot be listened to. */
  follow(all: readonly Restored[]): void {
    if (this.#closed) return;
    if (this.#monitor?.closed) this.#forget();
    for (const [restored, stop] of this.#followed) {
      if (all.includes(restored)) continue;
      stop();
      this.#followed.delete(restored);
    }
    for (const restored of all) {
      if (this.#followed.has(restored)) continue;
      this.#monitor ??= new LinkMonitor();
      const {ifindex} = restored.link;
      const stop = this.#monitor.watch(
        ifindex,
        (link) => {
          if (!link) this.#options.onGone(restored);
        },
        () => {
          this.#forget();
          this.#options.onLost();
        },
      );
      this.#followed.set(restored, stop);
      // Before this nothing was heard of it.
      this.#options.onGone(restored);
    }
  }

  close(): void {
    this.#closed = true;
    this.#forget();
  }

  #forget(): void {
    this.#followed = new Map();
    this.#monitor?.close();
    this.#monitor = undefined;
  }
}
