import type {Output} from './command.ts';
import {toolPath} from './debian.ts';

/** One system call of a traced program's first thread. */
export interface TracedCall {
  readonly name: string;
  /** Its place among the calls of that name: what `when=` of an injection counts. */
  readonly nth: number;
  readonly text: string;
}

/** What an injection does to a system call: kill the program as it enters it, or let the call fail. */
export type Fault = 'KILL' | 'EIO' | 'ENOSPC';

// What changes something outside of the program, or asks the kernel to.
const changing = [
  'sendto',
  'sendmsg',
  'write',
  'pwrite64',
  'writev',
  'openat',
  'mkdir',
  'rename',
  'renameat2',
  'link',
  'linkat',
  'unlink',
  'ftruncate',
  'utimensat',
  'utime',
  'flock',
  'setns',
];

/** The command line that traces a program's changes into `file`. */
export function tracing(file: string): string[] {
  return [
    toolPath('strace'),
    '-f',
    '-qq',
    '-y',
    '-s',
    '64',
    '-o',
    file,
    '-e',
    `trace=${changing.map((name) => `?${name}`).join(',')}`,
  ];
}

/** The command line that injects a fault into one call of a program, and writes down in `file` which it was. */
export function injecting({name, nth}: TracedCall, fault: Fault, file: string): string[] {
  const what = fault === 'KILL' ? 'signal=KILL' : `error=${fault}`;
  const inject = `inject=${name}:${what}:when=${nth}`;
  return [toolPath('strace'), '-f', '-qq', '-y', '-o', file, '-e', `trace=${name}`, '-e', inject];
}

/** Whether a command was killed, or what it ran. */
export function isKilled({signal, code}: Pick<Output, 'signal' | 'code'>): boolean {
  return signal === 'SIGKILL' || code === 137;
}

/**
 * Whether a trace of `injecting` shows that the fault hit a change of something outside. It may miss: threads
 * wake each other by writes, now more and now less of them, and a failing one ends Node itself.
 */
export function hasHit(text: string): boolean {
  const injected = text.split('\n').filter((line) => line.includes('(INJECTED)'));
  if (injected.length === 0) return false;
  return injected.every((line) => {
    const [, name = '', rest = ''] = /^\d+ +(\w+)\((.*)$/.exec(line) ?? [];
    return isOutside(name, rest);
  });
}

/**
 * Reads a trace: the calls of the first thread that change something outside, which leaves out what a
 * program does to itself (wake its threads, open its libraries).
 */
export function parseTrace(text: string): TracedCall[] {
  const lines = text.split('\n').map((line) => /^(\d+) +(\w+)\((.*)$/.exec(line));
  const first = lines.find((line) => line !== null)?.[1];
  const counts = new Map<string, number>();
  const calls: TracedCall[] = [];
  for (const line of lines) {
    if (line?.[1] !== first) continue;
    const [, , name = '', text = ''] = line ?? [];
    const nth = (counts.get(name) ?? 0) + 1;
    counts.set(name, nth);
    if (isOutside(name, text)) calls.push({name, nth, text});
  }
  return calls;
}

function isOutside(name: string, text: string): boolean {
  if (name === 'openat') return /O_CREAT|O_WRONLY|O_RDWR|O_TMPFILE/.test(text) && !text.includes('/dev/');
  if (/^(p?write|writev)/.test(name)) return !/^\d+<(anon_inode|pipe:\[\d+\]>.*"\\1|\/dev\/)/.test(text);
  return true;
}
