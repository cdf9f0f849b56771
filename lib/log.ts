import {pino} from 'pino';

export type Logger = pino.Logger;

export interface LogOptions {
  /** pino's level names; "silent" where nothing asks for more. */
  readonly level: string;
  /** A file to append to instead of stderr; its folder is made. */
  readonly file?: string;
  /** Facts that every line carries. */
  readonly bindings?: Readonly<Record<string, unknown>>;
}

/**
 * A logger that writes before it returns: a plugin process ends right after its verb, and what an
 * asynchronous logger still held would be lost. Never stdout: that is the result's alone. Throws
 * if the file cannot be opened.
 */
export function openLog({level, file, bindings = {}}: LogOptions): Logger {
  const options = {level, base: {pid: process.pid, ...bindings}, timestamp: pino.stdTimeFunctions.isoTime};
  if (level === 'silent') return pino(options, {write() {}});
  const destination = file === undefined ? {dest: 2, sync: true} : {dest: file, sync: true, mkdir: true};
  return pino(options, pino.destination(destination));
}
