import {existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync} from 'node:fs';
import type {Answer} from './protocol.ts';

const root = '/sys/fs/cgroup';

/** The memory controller: of the second kind of control groups, or of the first. */
interface Controller {
  readonly path: string;
  readonly limit: string;
  readonly events: string;
}

function findController(): Controller {
  if (existsSync(`${root}/cgroup.controllers`)) {
    return {path: root, limit: 'memory.max', events: 'memory.events'};
  }
  return {path: `${root}/memory`, limit: 'memory.limit_in_bytes', events: 'memory.oom_control'};
}

export interface Limit {
  readonly bytes: number;
  /** Of the control group, from the hierarchy's root: "/a/b". */
  readonly name: string;
}

/**
 * Runs `work`, and the processes it starts, in a control group with so many bytes of memory. Where that is too little
 * the kernel kills one of those that `exposeToOom` was told of.
 */
export function withMemoryLimit({bytes, name}: Limit, work: () => Answer): Answer {
  const {path, limit, events} = findController();
  const group = `${path}${name}`;
  const before = readOwnGroup(path);
  mkdirSync(group, {recursive: true});
  try {
    writeFileSync(`${group}/${limit}`, String(bytes));
    writeFileSync(`${group}/cgroup.procs`, String(process.pid));
    const answer = attempt(work);
    const isOutOfMemory = /^oom_kill [1-9]/m.test(readFileSync(`${group}/${events}`, 'utf8'));
    if (answer.error !== undefined && !isOutOfMemory) throw new Error(answer.error);
    return {isOutOfMemory};
  } finally {
    writeFileSync(`${before}/cgroup.procs`, String(process.pid));
    rmdirSync(group);
  }
}

/** Lets the kernel end a process for want of memory rather than the one that started it. */
export function exposeToOom(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, '1000');
  } catch {
    // It is over already.
  }
}

function attempt(work: () => Answer): Answer {
  try {
    return work();
  } catch (error) {
    return {error: (error as Error).message};
  }
}

function readOwnGroup(path: string): string {
  const line = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find((each) =>
      path === root ? each.startsWith('0::') : each.split(':')[1]?.split(',').includes('memory'),
    );
  const own = `${path}${line?.split(':').slice(2).join(':') ?? ''}`;
  return existsSync(own) ? own : path;
}
