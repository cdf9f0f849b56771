import type {Logger} from '../../lib/log.ts';
import {listenDns, type Handler, type Listener} from '../dns/listener.ts';

/** An address that is listened on, or is to be. */
interface Slot {
  readonly address: string;
  listener?: Listener | undefined;
  failure?: string | undefined;
  attempt?: Promise<void> | undefined;
}

export interface ListenersOptions {
  readonly port: number;
  readonly handlerFor: (address: string) => Handler;
  readonly log: Logger;
  /** How long a new address is waited for: IPv6 addresses are not usable at once. */
  readonly patienceMs?: number;
}

const pauseMs = 20;

/** The sockets on the host's addresses in the containers' networks, as many as there are addresses. */
export class Listeners {
  readonly #options: ListenersOptions;
  readonly #slots = new Map<string, Slot>();
  /** Those that still answer what came before. */
  readonly #closing = new Set<Promise<void>>();

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  /** Makes the addresses listened on just these; resolves when each is, or cannot be for now. */
  async set(addresses: ReadonlySet<string>): Promise<void> {
    for (const slot of this.#slots.values()) {
      if (addresses.has(slot.address)) continue;
      this.#slots.delete(slot.address);
      const closing = this.#close(slot).finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    const opening = [...addresses].map((address) => {
      const slot = this.#slots.get(address) ?? {address};
      this.#slots.set(address, slot);
      return this.#open(slot);
    });
    await Promise.all(opening);
  }

  /** Whether an address is one of ours. */
  has(address: string): boolean {
    return this.#slots.has(address);
  }

  /** The port that is listened on at an address; undefined while none is. */
  portOf(address: string): number | undefined {
    return this.#slots.get(address)?.listener?.port;
  }

  /** Sentences about addresses that cannot be listened on. */
  failures(): readonly string[] {
    return [...this.#slots.values()].map(({failure}) => failure).filter((each) => each !== undefined);
  }

  list(): readonly {readonly address: string; readonly port?: number | undefined}[] {
    return [...this.#slots.values()].map(({address, listener}) => ({address, port: listener?.port}));
  }

  async close(): Promise<void> {
    await this.set(new Set());
    await Promise.all(this.#closing);
  }

  #open(slot: Slot): Promise<void> {
    if (slot.listener) return Promise.resolve();
    return (slot.attempt ??= this.#tryOpen(slot).finally(() => {
      slot.attempt = undefined;
    }));
  }

  async #tryOpen(slot: Slot): Promise<void> {
    const {port, patienceMs = 200, log} = this.#options;
    const deadline = performance.now() + patienceMs;
    for (;;) {
      try {
        await this.#listen(slot, port);
        return;
      } catch (error) {
        const code = codeOf(error);
        if (code === 'EADDRINUSE') return this.#listenElsewhere(slot, port);
        if (code === 'EADDRNOTAVAIL' && performance.now() < deadline && this.#slots.has(slot.address)) {
          await new Promise((resolve) => setTimeout(resolve, pauseMs));
          continue;
        }
        slot.failure = `cannot listen on ${slot.address} port ${port}: ${(error as Error).message}`;
        log.warn({error, address: slot.address}, 'cannot listen; trying again later');
        return;
      }
    }
  }

  async #listen(slot: Slot, port: number): Promise<void> {
    const {handlerFor} = this.#options;
    const {address} = slot;
    const listener = await listenDns({address, port, handler: handlerFor(address)});
    if (this.#slots.get(address) === slot) {
      slot.listener = listener;
      slot.failure = undefined;
    } else {
      await listener.close();
    }
  }

  /** Somebody else has the port (dnsmasq, systemd-resolved on all addresses): the kernel redirects to another one of ours. */
  async #listenElsewhere(slot: Slot, port: number): Promise<void> {
    const {log} = this.#options;
    try {
      await this.#listen(slot, 0);
      log.info(
        {address: slot.address, port: slot.listener?.port},
        `port ${port} is taken: listening on another`,
      );
    } catch (error) {
      slot.failure = `cannot listen on ${slot.address}: ${(error as Error).message}`;
    }
  }

  async #close(slot: Slot): Promise<void> {
    await slot.attempt;
    await slot.listener?.close();
  }
}

function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return (error as NodeJS.ErrnoException).code ?? codeOf(error.cause);
}
