import type {Registry} from 'prom-client';
import type {Host} from '../lib/host.ts';
import type {Logger} from '../lib/log.ts';
import type {Catalog} from './catalog/catalog.ts';
import type {AgentConfig} from './config.ts';

/** What a module of the agent is made with. */
export interface AgentContext {
  readonly config: AgentConfig;
  readonly log: Logger;
  /** The agent's own namespace, with its sockets kept open. */
  readonly host: Host;
  /** Where a module puts its figures, named `weft_<module>_…`. */
  readonly metrics: Registry;
  /** This host's name among others. */
  readonly node: string;
  /** Who has names and what answers for services, shared by those modules. */
  readonly catalog: Catalog;
}

/**
 * A part of the node agent. Modules know nothing of each other; the agent starts them in order, stops them in reverse, and
 * asks them how they are.
 */
export interface AgentModule {
  readonly name: string;
  /** Returns when the module works or has begun to try; throws only for a configuration that can never work. */
  start(): Promise<void>;
  /** All modules have started: what they know of this host is in the catalog, so that what is not there is gone. */
  allStarted?(): void;
  /** Leaves the kernel as it is. */
  stop(): Promise<void>;
  /**
   * A changed configuration; only what differs is touched. What it throws is logged, and the module goes on as it was. A
   * module without it is stopped and made anew when its section changed.
   */
  reload?(config: AgentConfig): Promise<void>;
  /** Looks at everything again, now (POST /reconcile); resolves when that is done. */
  reconcile?(): Promise<void>;
  /** Why the node is not ready, as sentences; empty when it is. */
  notReady(): readonly string[];
  /** For `weft status` and `/status`: plain JSON. */
  status(): unknown;
}
