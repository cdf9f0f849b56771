import {readFileSync, statSync} from 'node:fs';
import type {BigIntStats} from 'node:fs';
import {effectiveCapabilities} from '../../lib/netns/native.ts';
import type {NamespaceInodes, WarmRequest} from './protocol.ts';
import {hasRelativePath} from './relative-paths.ts';

/** The reason where the caller does not wait for an answer. */
export const callerIsGone = 'the caller is gone';

/** What a call has to share with this process, so that it is the same call in either. */
export interface Surroundings {
  readonly namespaces: NamespaceInodes;
  readonly root: FileIdentity;
  readonly umask: number;
  /** A bit for each capability (linux/capability.h). */
  readonly capabilities: bigint;
  /** What the files of this build's plugins end with. */
  readonly trailer: string;
  readonly uid: number;
}

export interface FileIdentity {
  readonly device: bigint;
  readonly inode: bigint;
}

/** As the kernel says, and not the client. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
}

/** The surroundings of this process. Throws where /proc is not mounted. */
export function readSurroundings(trailer: string): Surroundings {
  const inode = (kind: string) => identify(`/proc/self/ns/${kind}`)!.inode;
  return {
    namespaces: {net: inode('net'), mnt: inode('mnt'), pid: inode('pid'), user: inode('user')},
    root: identify('/')!,
    umask: process.umask(),
    capabilities: effectiveCapabilities(process.pid) ?? 0n,
    trailer,
    uid: process.getuid!(),
  };
}

/**
 * Why a call cannot be served here, undefined when it can. A difference between the client's world and ours would make
 * another call of it: an agent with mounts of its own sees an empty file where the host has a container's namespace, and
 * would take a living container for gone.
 */
export function findDifference(request: WarmRequest, peer: Peer, own: Surroundings): string | undefined {
  if (peer.uid !== own.uid) return `the caller is user ${peer.uid}; only ${own.uid} is served`;
  if (request.pid !== peer.pid) return `the caller's process is ${peer.pid}, not ${request.pid}`;
  if (request.release !== own.trailer) {
    return `the caller is of "${request.release.trim()}", the agent of "${own.trailer.trim()}"`;
  }
  for (const kind of ['net', 'mnt', 'pid', 'user'] as const) {
    if (request.namespaces[kind] !== own.namespaces[kind]) return `another ${kind} namespace`;
  }
  if (request.umask !== own.umask)
    return `umask ${request.umask.toString(8)} instead of ${own.umask.toString(8)}`;
  const capabilities = effectiveCapabilities(request.pid);
  if (capabilities === undefined) return callerIsGone;
  if ((own.capabilities & ~capabilities) !== 0n) {
    return 'the caller may do less than the agent';
  }
  if (!isSame(identify(`/proc/${request.pid}/root`), own.root)) return 'another root directory';
  return findNetnsDifference(request) ?? findFolderDifference(request);
}

/** The namespace is what the client has open, and what its path leads to from here. */
function findNetnsDifference({pid, netns, env}: WarmRequest): string | undefined {
  const path = env['CNI_NETNS'] ?? '';
  const there = path === '' ? undefined : identify(path);
  if (!netns) return there ? `the caller does not see ${path}` : undefined;
  if (!isSame(identify(`/proc/${pid}/fd/${netns.fd}`), netns))
    return 'the descriptor is not what the caller says';
  return isSame(there, netns) ? undefined : `${path} is not what the caller sees there`;
}

/** Paths that do not begin with a slash mean something else here, and what is executed runs in the caller's folder. */
function findFolderDifference({cwd, env, stdin}: WarmRequest): string | undefined {
  if (cwd === '/') return undefined;
  if (hasRelativePath(env, stdin)) return `a path relative to ${cwd}`;
  return statSync(cwd, {throwIfNoEntry: false})?.isDirectory() === true ? undefined : `no folder ${cwd}`;
}

function isSame(one: FileIdentity | undefined, other: FileIdentity): boolean {
  return one?.device === other.device && one.inode === other.inode;
}

function identify(path: string): FileIdentity | undefined {
  let stat: BigIntStats | undefined;
  try {
    stat = statSync(path, {bigint: true, throwIfNoEntry: false});
  } catch {
    // Whatever is in the way: the plugin's own process says it.
  }
  return stat && {device: stat.dev, inode: stat.ino};
}

/** Whether a process was started by this one, through any number of others. */
export function isDescendant(pid: number): boolean {
  for (let at = pid; at > 1;) {
    try {
      // Behind the name, which may hold anything: state, parent.
      const text = readFileSync(`/proc/${at}/stat`, 'latin1');
      at = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
    } catch {
      return false;
    }
    if (at === process.pid) return true;
  }
  return false;
}
