import type {Logger} from '../log.ts';
import type {JsonObject, Result} from './types.ts';

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'GC' | 'STATUS';

/**
 * One invocation of a plugin, validated by the skeleton. Strings that the verb does not take are
 * empty (`containerId` for GC, `netns` of a DEL after a reboot).
 */
export interface Call {
  readonly command: Command;
  readonly containerId: string;
  /** Path of the container's network namespace. */
  readonly netns: string;
  readonly ifName: string;
  /** CNI_ARGS as it came; `args.ts` parses it. */
  readonly args: string;
  /** CNI_PATH, split. */
  readonly path: readonly string[];
  /** The whole environment of the call: what an executed delegate gets. */
  readonly env: Readonly<Record<string, string>>;
  /** The network configuration as it came: what an executed delegate gets. */
  readonly stdin: string;
  /** `stdin` decoded; the spelling of its keys is untouched. */
  readonly conf: JsonObject;
  /** The configuration's version; "0.1.0" where it says none. */
  readonly cniVersion: string;
  /** The network's name. */
  readonly name: string;
  readonly log: Logger;
  /** A sentence for the operator, on stderr. */
  warn(message: string): void;
  /**
   * Runs plugin `type` with this call's environment and configuration (spec section 4), or with `conf` in the
   * place of that: in process when the file found in CNI_PATH is this very program, by exec otherwise.
   * Returns the result of an ADD, `undefined` for the other verbs. Errors of the delegate come
   * back as it reported them.
   */
  delegate(type: string, command: Command, conf?: JsonObject): Promise<Result | undefined>;
}

/**
 * What of an attachment stands in tables that all programs of a host share, where others may remove it. The calls are a
 * CHECK's; nothing here touches a link, an address or a file.
 */
export interface Repair<Host> {
  /** What is missing or different, one sentence each. What belongs to another attachment by now is not. */
  missing(call: Call, host: Host): Promise<readonly string[]>;
  /** Makes it anew. Takes nothing from another attachment. */
  restore(call: Call, host: Host): Promise<void>;
  /** Removes it, if `isGone` says so after all of it was read. */
  takeBack(call: Call, host: Host, isGone: () => Promise<boolean>): Promise<void>;
}

/** The configuration of another plugin that does a plugin's work. */
export interface Delegated {
  readonly type: string;
  readonly conf: JsonObject;
}

/**
 * A plugin: its verbs over whatever reaches the kernel (`Host`, see lib/host.ts; the skeleton only
 * hands it on). A verb returns when it is done or throws; it keeps no module state, never writes to
 * stdout and never ends the process, so that it runs in the executable and in the agent alike.
 */
export interface Plugin<Host> {
  readonly name: string;
  /** Spec versions the plugin speaks, oldest first. */
  readonly versions: readonly string[];
  add(call: Call, host: Host): Promise<Result>;
  del(call: Call, host: Host): Promise<void>;
  check(call: Call, host: Host): Promise<void>;
  gc(call: Call, host: Host): Promise<void>;
  status(call: Call, host: Host): Promise<void>;
  /** Of plugins that make anything there. */
  readonly repair?: Repair<Host>;
  /** Of plugins that have another one do it: whose repair counts for a CHECK's call. */
  findDelegated?(call: Call): Delegated | undefined;
}
