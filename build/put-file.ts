import {chmodSync, copyFileSync, renameSync} from 'node:fs';

/** Copies a file in one step: a program that is running has the old one mapped. */
export function putFile(source: string, target: string): void {
  const temporary = `${target}.${process.pid}`;
  copyFileSync(source, temporary);
  chmodSync(temporary, 0o644);
  renameSync(temporary, target);
}
