import type {PluginIo} from '../../lib/cni/skel.ts';

/** Waits; what is waited for is under way already. */
export type Pause = <T>(wait: Promise<T>) => Promise<T>;

/**
 * The plugins of this program, to be called in this process. cli/main.ts makes it of the very code that a process of its own
 * runs for a call.
 */
export interface PluginCalls {
  /** What the files of this build's plugins end with. */
  readonly trailer: string;
  has(name: string): boolean;
  /**
   * Runs one call over sockets that stay open, and gives the exit code. Where it waits for the kernel for long, it does so in
   * `pause`, so that others may be at work meanwhile.
   */
  call(name: string, io: PluginIo, pause: Pause): Promise<number>;
  close(): void;
}
