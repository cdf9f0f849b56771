import {appendFileSync, closeSync, mkdirSync, openSync} from 'node:fs';
import {dirname} from 'node:path';
import {pino} from 'pino';

/** Facts first, then a constant sentence: `log.debug({ifindex}, 'link made')`. */
export type Logger = Pick<pino.BaseLogger, 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace'>;

export interface LogOptions {
  /** pino's level names; "silent" where nothing asks for more. */
  readonly level: string;
  /** A file to append to instead of stderr; its folder is made. */
  readonly file?: string;
  /** Facts that every line carries. */
  readonly bindings?: Readonly<Record<string, unknown>>;
  /** The process whose lines they are, where that is another one. */
  readonly pid?: number;
  /** Takes the lines in place of this process's stderr. */
  readonly write?: (line: string) => void;
}

/**
 * A logger that writes before it returns: a plugin process ends right after its verb, and what an
 * asynchronous logger still held would be lost. Never stdout: that is the result's alone. Throws
 * if the file cannot be opened.
 */
export function openLog({level, file, bindings = {}, pid = process.pid, write}: LogOptions): Logger {
  // To make one of pino's takes over a millisecond, even if it is never to say anything.
  if (level === 'silent') return {fatal: no, error: no, warn: no, info: no, debug: no, trace: no};
  const options = {
    level,
    base: {pid, ...bindings},
    timestamp: pino.stdTimeFunctions.isoTime,
    errorKey: 'error',
  };
  if (file !== undefined) return pino(options, {write: openFile(file)});
  return pino(options, write ? {write} : pino.destination({dest: 2, sync: true}));
}

/** Nothing stays open: the log of a call is never closed, and a file that is moved away is made again. */
function openFile(file: string): (line: string) => void {
  ensureFolder(dirname(file));
  closeSync(openSync(file, 'a'));
  return (line) => {
    try {
      appendFileSync(file, line);
    } catch {
      // A full disk must not stop a call.
    }
  };
}

function no(): void {}

/** One level only: making parents too, Node (24) never ends where none can be made, as in /proc. */
function ensureFolder(folder: string): void {
  try {
    mkdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
