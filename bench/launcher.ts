import {closeSync, readFileSync, readSync, writeSync} from 'node:fs';
import koffi from 'koffi';

/*
 * Starts processes with posix_spawn(3) and waits for them with wait4(2), so that what is measured is the process and not
 * the way it was started: no fork of this process's memory, no event loop between. The calls block.
 */

type Func = (...args: unknown[]) => number;

const libc = koffi.load(null);
const native = {
  pipe2: libc.func('int pipe2(void *fds, int flags)') as Func,
  init: libc.func('int posix_spawn_file_actions_init(void *actions)') as Func,
  dup2: libc.func('int posix_spawn_file_actions_adddup2(void *actions, int from, int to)') as Func,
  destroy: libc.func('int posix_spawn_file_actions_destroy(void *actions)') as Func,
  spawn: libc.func(
    'int posix_spawn(void *pid, str path, void *actions, void *attributes, str *argv, str *envp)',
  ) as Func,
  wait4: libc.func('int wait4(int pid, void *status, int options, void *usage)') as Func,
  ptrace: libc.func('intptr_t ptrace(int request, int pid, uintptr_t address, uintptr_t data)') as Func,
};

// fcntl.h, sys/ptrace.h, linux/ptrace.h, sys/wait.h; the same on x64 and arm64.
const O_CLOEXEC = 0o2000000;
const PTRACE_CONT = 7;
const PTRACE_SEIZE = 0x4206;
const PTRACE_O_TRACEEXIT = 0x40;
const PTRACE_EVENT_EXIT = 6;
const SIGTRAP = 5;
const WALL = 0x4000_0000;
/** More than sizeof(posix_spawn_file_actions_t) and sizeof(struct rusage) are anywhere. */
const roomBytes = 256;

export interface Command {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  /** At most what a pipe holds: 64 KiB. So is what the process may write. */
  readonly stdin: string;
}

export interface Ended {
  /** Exit code; 128 and the signal where one ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** From before it was started until it was waited for. */
  readonly ms: number;
  /** Processor time, with the children it waited for. */
  readonly cpuMs: number;
}

export interface Running {
  readonly pid: number;
  readonly startedNs: bigint;
  readonly stdout: number;
  readonly stderr: number;
}

/** Starts a process; throws if it cannot be. */
export function start({argv, env, stdin}: Command): Running {
  const [input, output, errors] = [makePipe(), makePipe(), makePipe()] as const;
  const actions = Buffer.alloc(roomBytes);
  native.init(actions);
  for (const [to, from] of [input.read, output.write, errors.write].entries()) native.dup2(actions, from, to);
  writeSync(input.write, stdin);
  closeSync(input.write);
  const pid = Buffer.alloc(4);
  const strings = Object.entries(env).map(([key, value]) => `${key}=${value}`);
  const startedNs = process.hrtime.bigint();
  const errno = native.spawn(pid, argv[0], actions, null, [...argv, null], [...strings, null]);
  native.destroy(actions);
  for (const fd of [input.read, output.write, errors.write]) closeSync(fd);
  if (errno !== 0) throw new Error(`cannot start ${argv[0]}: errno ${errno}`);
  return {pid: pid.readInt32LE(), startedNs, stdout: output.read, stderr: errors.read};
}

/** Waits for a process's end. */
export function finish({pid, startedNs, stdout, stderr}: Running): Ended {
  const [status, usage] = [Buffer.alloc(4), Buffer.alloc(roomBytes)];
  if (native.wait4(pid, status, 0, usage) !== pid) throw new Error(`wait4 failed for process ${pid}`);
  const ms = Number(process.hrtime.bigint() - startedNs) / 1e6;
  return {code: codeOf(status), stdout: drain(stdout), stderr: drain(stderr), ms, cpuMs: cpuOf(usage)};
}

/** As `finish`, and looks at the process's memory when it is about to end: pages of its own, in bytes. */
export function finishMeasured(running: Running): Ended & {readonly privateBytes: number} {
  const {pid, startedNs, stdout, stderr} = running;
  let privateBytes = 0;
  const [status, usage] = [Buffer.alloc(4), Buffer.alloc(roomBytes)];
  if (native.ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXIT) !== 0) throw new Error('ptrace failed');
  for (;;) {
    const waited = native.wait4(pid, status, WALL, usage);
    if (waited !== pid) throw new Error(`wait4 failed for process ${pid}`);
    const event = status.readUInt32LE();
    if ((event & 0xff) !== 0x7f) break;
    const signal = (event >> 8) & 0xff;
    if (event >> 16 === PTRACE_EVENT_EXIT) privateBytes = readPrivateBytes(pid);
    native.ptrace(PTRACE_CONT, pid, 0, signal === SIGTRAP ? 0 : signal);
  }
  const ms = Number(process.hrtime.bigint() - startedNs) / 1e6;
  const rest = {stdout: drain(stdout), stderr: drain(stderr), ms, cpuMs: cpuOf(usage)};
  return {code: codeOf(status), ...rest, privateBytes};
}

/** Memory that a process shares with nobody and no file: anonymous pages, copies of pages of files. */
export function readPrivateBytes(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Anonymous: +(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

function makePipe(): {readonly read: number; readonly write: number} {
  const fds = Buffer.alloc(8);
  if (native.pipe2(fds, O_CLOEXEC) !== 0) throw new Error('pipe2 failed');
  return {read: fds.readInt32LE(0), write: fds.readInt32LE(4)};
}

function drain(fd: number): string {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(65_536);
  for (let length; (length = readSync(fd, chunk)) > 0;) chunks.push(Buffer.from(chunk.subarray(0, length)));
  closeSync(fd);
  return Buffer.concat(chunks).toString();
}

function codeOf(status: Buffer): number {
  const value = status.readInt32LE();
  return (value & 0x7f) === 0 ? (value >> 8) & 0xff : 128 + (value & 0x7f);
}

/** ru_utime and ru_stime, seconds and microseconds each. */
function cpuOf(usage: Buffer): number {
  const [us, uu, ss, su] = [0, 8, 16, 24].map((at) => Number(usage.readBigInt64LE(at))) as [
    number,
    number,
    number,
    number,
  ];
  return (us + ss) * 1e3 + (uu + su) / 1e3;
}
