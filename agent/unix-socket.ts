import {chmodSync, renameSync, statSync, unlinkSync, watch} from 'node:fs';
import type {Server} from 'node:net';
import {basename, dirname, join} from 'node:path';
import {ensureDirectory, removeQuietly} from '../lib/files.ts';

export interface UnixSocketOptions {
  readonly path: string;
  /** Called once when the path leads to the socket of somebody else, who serves now. */
  readonly onReplaced?: () => void;
}

/** A server that listens on a path of the file system. */
export interface UnixSocket {
  /** Whether the path still leads here. */
  readonly isCurrent: boolean;
  /** Takes the path away if it still leads here, so that nobody comes any more; the server is left to its owner. */
  remove(): void;
}

/**
 * Binds a server to a path, for root alone. It is bound under another name first and takes the place of what is there in one
 * step: so a socket that a dead process left is no obstacle, and one of a living process is taken over without a moment in
 * which nobody listens.
 */
export async function listenOnPath(
  server: Server,
  {path, onReplaced}: UnixSocketOptions,
): Promise<UnixSocket> {
  const directory = dirname(path);
  ensureDirectory(directory, 0o755);
  // Short: the kernel takes 107 bytes.
  const draft = join(directory, `.${process.pid}.${basename(path)}`);
  removeQuietly(draft);
  await listen(server, draft);
  let identity: string;
  try {
    chmodSync(draft, 0o600);
    identity = identityOf(draft)!;
    renameSync(draft, path);
  } catch (error) {
    server.close();
    removeQuietly(draft);
    throw error;
  }
  let isWatched = true;
  const socket: UnixSocket = {
    get isCurrent() {
      return identityOf(path) === identity;
    },
    remove() {
      unwatch();
      if (socket.isCurrent) unlinkSync(path);
    },
  };
  const watcher = onReplaced && watch(directory, {persistent: false}, look);
  // Without a watch (too many of them) the old process lives until it is told to end.
  watcher?.on('error', unwatch);
  function look(): void {
    const there = identityOf(path);
    // Where there is none nobody serves instead: whoever has a connection to us may go on.
    if (!isWatched || there === undefined || there === identity) return;
    unwatch();
    onReplaced?.();
  }
  function unwatch(): void {
    isWatched = false;
    watcher?.close();
  }
  return socket;
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(new Error(`cannot listen on ${path}: ${cause.message}`)));
    // The longest queue the kernel allows: callers come in crowds.
    server.listen({path, backlog: 4096}, resolve);
  });
}

function identityOf(path: string): string | undefined {
  const stat = statSync(path, {bigint: true, throwIfNoEntry: false});
  return stat && `${stat.dev}:${stat.ino}`;
}
