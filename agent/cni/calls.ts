import type {PluginIo} from '../../lib/cni/skel.ts';

/**
 * The plugins of this program, to be called in this process. cli/main.ts makes it of the very code that a process of its own
 * runs for a call.
 */
export interface PluginCalls {
  /** What the files of this build's plugins end with. */
  readonly trailer: string;
  has(name: string): boolean;
  /** Runs one call over sockets that stay open, and gives the exit code. */
  call(name: string, io: PluginIo): Promise<number>;
  close(): void;
}
