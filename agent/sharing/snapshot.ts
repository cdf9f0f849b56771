import {readFileSync, renameSync, writeFileSync} from 'node:fs';
import {dirname} from 'node:path';
import {ensureDirectory} from '../../lib/files.ts';
import type {Shared} from './layout.ts';

/** What was last known of other hosts: for an agent that starts while the store is away. Undefined where nothing is kept. */
export function readSnapshot(file: string): Shared | undefined {
  try {
    const {
      containers = [],
      instances = [],
      services = [],
    } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Shared>;
    return {containers, instances, services};
  } catch {
    return undefined;
  }
}

/** Writes it; it appears whole. */
export function writeSnapshot(file: string, shared: Shared): void {
  ensureDirectory(dirname(file), 0o755);
  writeFileSync(`${file}.new`, `${JSON.stringify(shared)}\n`, {mode: 0o600});
  renameSync(`${file}.new`, file);
}
