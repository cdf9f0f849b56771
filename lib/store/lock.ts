import {closeSync, constants, openSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {CniError, errorCodes} from '../cni/error.ts';
import {monotonicMs} from '../clock.ts';
import {flock} from '../netns/native.ts';
import {isErrno, storeError} from './error.ts';

export interface LockOptions {
  /** The file whose lock is taken; made if it is not there. */
  readonly path: string;
  /** How long to wait for others before giving up with error 11. */
  readonly timeoutMs: number;
}

const firstPauseMs = 1;
const longestPauseMs = 20;

/** The tail of each lock's queue in this process; empty whenever nobody waits. */
const queues = new Map<string, Promise<unknown>>();

/**
 * Runs `work` under the flock(2) that the Go plugin takes as well. Never waits inside the system call:
 * another call of this very process may be the holder, and needs the thread to finish.
 */
export async function withLock<T>({path, timeoutMs}: LockOptions, work: () => T | Promise<T>): Promise<T> {
  const deadlineMs = monotonicMs() + timeoutMs;
  const before = queues.get(path) ?? Promise.resolve();
  const turn = before.then(() => runLocked(path, timeoutMs, deadlineMs, work));
  const settled = turn.catch(() => {});
  queues.set(path, settled);
  try {
    return await turn;
  } finally {
    if (queues.get(path) === settled) queues.delete(path);
  }
}

async function runLocked<T>(
  path: string,
  timeoutMs: number,
  deadlineMs: number,
  work: () => T | Promise<T>,
): Promise<T> {
  const fd = openLock(path);
  try {
    await acquireLock(fd, {path, timeoutMs}, deadlineMs);
    return await work();
  } finally {
    // Gives the lock back: it belongs to this open file.
    closeSync(fd);
  }
}

function openLock(path: string): number {
  try {
    return openSync(path, constants.O_RDONLY);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw storeError('open', path, error);
  }
  try {
    return openSync(path, constants.O_RDONLY | constants.O_CREAT, 0o750);
  } catch (error) {
    throw storeError('create', path, error);
  }
}

/** Takes the flock(2) of an open file, which closing it gives back. Error 11 when others do not give it up in time. */
export async function acquireLock(
  fd: number,
  {path, timeoutMs}: LockOptions,
  deadlineMs = monotonicMs() + timeoutMs,
): Promise<void> {
  for (let pauseMs = firstPauseMs; !lockOrThrow(fd, path); pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
    if (monotonicMs() >= deadlineMs) {
      throw new CniError(
        errorCodes.tryAgainLater,
        `cannot lock ${path}: another process has held it for ${timeoutMs / 1000} s`,
        `\`lsof ${path}\` shows which process it is`,
      );
    }
    // Not all at the same moment: many that started together would keep meeting.
    await sleep(pauseMs * (0.5 + Math.random()));
  }
}

function lockOrThrow(fd: number, path: string): boolean {
  try {
    return flock(fd, {exclusive: true, wait: false});
  } catch (error) {
    throw storeError('lock', path, error);
  }
}
