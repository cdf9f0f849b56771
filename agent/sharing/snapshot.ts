import {readFileSync, renameSync, writeFileSync} from 'node:fs';
import {dirname} from 'node:path';
import {parseContainer, parseInstance, parseService} from '../catalog/shapes.ts';
import {ensureDirectory} from '../../lib/files.ts';
import type {Shared} from './layout.ts';

/** What was last known of other hosts: for an agent that starts while the store is away. Undefined where nothing is kept. */
export function readSnapshot(file: string): Shared | undefined {
  try {
    const found = JSON.parse(readFileSync(file, 'utf8')) as Partial<Record<keyof Shared, unknown>>;
    return {
      containers: listOf(found.containers, parseContainer),
      instances: listOf(found.instances, parseInstance),
      services: listOf(found.services, parseService),
    };
  } catch {
    return undefined;
  }
}

function listOf<Value>(list: unknown, parse: (value: unknown) => Value | undefined): readonly Value[] {
  if (!Array.isArray(list)) return [];
  return list.map((each: unknown) => parse(each)).filter((each) => each !== undefined);
}

/** Writes it; it appears whole. */
export function writeSnapshot(file: string, shared: Shared): void {
  ensureDirectory(dirname(file), 0o755);
  writeFileSync(`${file}.new`, `${JSON.stringify(shared)}\n`, {mode: 0o600});
  renameSync(`${file}.new`, file);
}
