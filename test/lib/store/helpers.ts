import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import type {Ip} from '../../../lib/ip/address.ts';
import {withStore} from '../../../lib/store/store.ts';
import type {Store, StoreOptions} from '../../../lib/store/store.ts';

export const ip = (text: string): Ip => parseIp(text)!;
export const texts = (ips: readonly Ip[]): string[] => ips.map(formatIp).toSorted();
export const holder = (containerId: string, ifName = 'eth0') => ({containerId, ifName});

/** A directory of the test's own, and a way to open it. */
export function makeStore(t: ExecutionContext, changes: Partial<StoreOptions> = {}) {
  const root = mkdtempSync(join(tmpdir(), 'weft-store-'));
  t.teardown(() => rmSync(root, {recursive: true, force: true}));
  const options = {dataDir: root, network: 'net1', create: true, indexDir: join(root, 'index'), ...changes};
  const open = async <T>(work: (store: Store) => T | Promise<T>): Promise<T> =>
    (await withStore(options, work)) as T;
  return {root, directory: join(root, 'net1'), indexDir: join(root, 'index'), options, open};
}
