import {pino} from 'pino';

export type Logger = pino.Logger;

export interface LogOptions {
  /** pino's level names; "silent" where nothing asks for more. */
  readonly level: string;
  /** A file to append to instead of stderr. */
  readonly file?: string;
}

/**
 * A logger that writes before it returns: a plugin process ends right after its verb, and what an
 * asynchronous logger still held would be lost. Never stdout: that is the result's alone.
 */
export function openLog({level, file}: LogOptions): Logger {
  if (level === 'silent') return pino({level}, {write() {}});
  const destination = file === undefined ? {dest: 2, sync: true} : {dest: file, sync: true, mkdir: true};
  return pino({level}, pino.destination(destination));
}
