import {
  closeSync,
  constants,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import {join} from 'node:path';
import {formatIp, parseIp} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import {bootMarkOf, readBootId} from './boot.ts';
import {Catalog, listNames, readReservation} from './catalog.ts';
import {isErrno, storeError} from './error.ts';
import {ensureDirectory, removeQuietly} from '../files.ts';
import {withLock} from './lock.ts';
import {publishReservation} from './publish.ts';
import {formatHolder, parseFileName, parseHolder} from './reservation.ts';
import type {Holder, Reservation} from './reservation.ts';
import {isBookkeeping, lastReservedPath, lockName, unfinishedName} from './tree.ts';

export interface StoreOptions {
  readonly dataDir: string;
  /** The network: the directory below `dataDir`. */
  readonly network: string;
  /** Make the directory. Without it, `withStore` gives `undefined` where there is none. */
  readonly create: boolean;
  /** Where the index is kept; without one every call reads the whole directory. */
  readonly indexDir?: string | undefined;
  /** How long to wait for the lock; error 11 afterwards. */
  readonly timeoutMs?: number;
}

const lockTimeoutMs = 30_000;

/**
 * Opens the reservations of one network, holding their lock until `work` is done. Errors of the file system are
 * CniError 5 with the path and the remedy.
 */
export async function withStore<T>(
  {dataDir, network, create, indexDir, timeoutMs = lockTimeoutMs}: StoreOptions,
  work: (store: Store) => T | Promise<T>,
): Promise<T | undefined> {
  const directory = join(dataDir, network);
  if (!isThere(directory)) {
    if (!create) return undefined;
    makeDirectory(directory);
  }
  return withLock({path: join(directory, lockName), timeoutMs}, async () => {
    const bootId = readBootId();
    const catalog = new Catalog({directory, indexDir, bootId});
    try {
      return await work(new Store(directory, catalog, bootId));
    } finally {
      catalog.close();
    }
  });
}

/** The reservations of one network; only `withStore` makes one, and only inside of it may it be used. */
export class Store {
  readonly directory: string;
  readonly #catalog: Catalog;
  readonly #bootMark: number;

  constructor(directory: string, catalog: Catalog, bootId: string) {
    this.directory = directory;
    this.#catalog = catalog;
    this.#bootMark = bootMarkOf(bootId);
  }

  /** The addresses that `holder` has, each read again from its file. */
  find(holder: Holder): Ip[] {
    const text = formatHolder(holder);
    return this.#verified(text, (ip) => this.#contentOf(ip) === text);
  }

  /**
   * Gives back every address that `holder` has, and returns them. Goes on after an error and throws the first one at
   * the end.
   */
  releaseAll(holder: Holder): Ip[] {
    const text = formatHolder(holder);
    const released = new Set<string>();
    const errors: unknown[] = [];
    const found = this.#verified(text, (ip) => {
      try {
        if (!released.has(formatIp(ip)) && this.release({ip, holder})) released.add(formatIp(ip));
      } catch (error) {
        errors.push(error);
        return true;
      }
      return released.has(formatIp(ip));
    });
    if (errors.length > 0) throw errors[0];
    return found;
  }

  /** The reservation of an address, as its file says now; `undefined` where it is free. */
  findHolder(ip: Ip): Holder | undefined {
    const content = this.#contentOf(ip);
    return content === undefined ? undefined : parseHolder(content);
  }

  /**
   * Reserves an address; `false` when it is taken. After a kill at any moment the reservation is either
   * complete or not there.
   */
  reserve({ip, holder}: Reservation): boolean {
    const text = formatHolder(holder);
    const modifiedSeconds = Math.floor(Date.now() / 1000) + this.#bootMark / 1e6;
    this.#catalog.load();
    try {
      const isReserved = publishReservation(this.#pathOf(ip), text, modifiedSeconds);
      if (isReserved) this.#catalog.noteChange((index) => index.add({ip, holder: text}));
      else this.#noteTaken(ip);
      return isReserved;
    } finally {
      this.#catalog.noteChange(() => {});
      // What stays behind goes with the next call that reads the directory: let that be the very next one.
      if (!removeQuietly(join(this.directory, unfinishedName))) this.#catalog.distrust();
    }
  }

  /**
   * Gives back an address if `holder` still has it; `false` when it has not. The file is read right before it is
   * removed.
   */
  release({ip, holder}: Reservation): boolean {
    const text = formatHolder(holder);
    if (this.#contentOf(ip) !== text) return false;
    this.#catalog.load();
    this.#unlink(this.#pathOf(ip));
    this.#catalog.noteChange((index) => index.remove({ip, holder: text}));
    return true;
  }

  /** The first address from `from` to `to` that is not in use. */
  nextFree(from: Ip, to: Ip): Ip | undefined {
    return this.#catalog.use((index) => index.nextFree(from, to));
  }

  /** How many addresses from `from` to `to` are in use. */
  countUsed(from: Ip, to: Ip): number {
    return this.#catalog.use((index) => index.countUsed(from, to));
  }

  /** How many addresses are in use, in any range. */
  countAll(): number {
    return this.#catalog.use((index) => index.countAll());
  }

  /** The addresses from `from` to `to` that are in use, in no order. */
  listUsed(from: Ip, to: Ip): Ip[] {
    return this.#catalog.use((index) => index.listUsed(from, to));
  }

  /** Reservations of nobody among `holders`; opens only the files of those. */
  listOthers(holders: readonly Holder[]): Reservation[] {
    const known = new Set(holders.map(formatHolder));
    const others = this.#catalog.use((index) => index.listOthers(known));
    return others.flatMap((ip) => {
      const holder = this.findHolder(ip);
      return holder && !known.has(formatHolder(holder)) ? [{ip, holder}] : [];
    });
  }

  /** Addresses whose file a crash left empty: the Go plugin takes them for used, ours for free. */
  listEmpty(): Ip[] {
    return listNames(this.directory).flatMap((name) => {
      const ip = isBookkeeping(name) ? undefined : parseFileName(name);
      if (!ip || this.#catalog.use((index) => index.has(ip))) return [];
      return this.#isEmpty(ip) ? [ip] : [];
    });
  }

  /** Removes an empty file; `false` when it is none. */
  removeEmpty(ip: Ip): boolean {
    if (!this.#isEmpty(ip)) return false;
    this.#catalog.load();
    this.#unlink(this.#pathOf(ip));
    this.#catalog.noteChange(() => {});
    return true;
  }

  /** The address that was given last from range set number `set`. */
  findLastReserved(set: number): Ip | undefined {
    const path = lastReservedPath(this.directory, set);
    try {
      return parseIp(readFileSync(path, 'utf8'));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw storeError('read', path, error);
    }
  }

  writeLastReserved(set: number, ip: Ip): void {
    const path = lastReservedPath(this.directory, set);
    const text = formatIp(ip);
    try {
      if (overwrite(path, text)) return;
      this.#catalog.load();
      writeFileSync(path, text, {mode: 0o600});
    } catch (error) {
      throw storeError('write', path, error);
    }
    this.#catalog.noteChange(() => {});
  }

  /** Whether what this store says was read from the directory itself, and not from the index. */
  get isFresh(): boolean {
    return this.#catalog.isFresh;
  }

  /** Reads the directory itself if the index may miss something: before saying that nothing is left. */
  refreshIfStale(): void {
    this.#catalog.rebuildIfStale();
  }

  /** Reads the directory itself. */
  refresh(): void {
    this.#catalog.rebuild();
  }

  /** When a reservation was last changed in any way, and whether it says itself that this boot made it. */
  findAge(ip: Ip): {readonly latestMs: number; readonly isOfThisBoot: boolean} | undefined {
    try {
      const {mtimeNs, mtimeMs, ctimeMs} = statSync(this.#pathOf(ip), {bigint: true});
      const micros = Number(((mtimeNs + 500n) / 1000n) % 1_000_000n);
      return {
        latestMs: Number(mtimeMs < ctimeMs ? ctimeMs : mtimeMs),
        isOfThisBoot: micros === this.#bootMark,
      };
    } catch {
      return undefined;
    }
  }

  /** Somebody who does not take the lock made it since we looked, or it is no reservation but is in the way. */
  #noteTaken(ip: Ip): void {
    const isKnown = () => this.#catalog.use((index) => index.has(ip));
    if (!isKnown()) this.refresh();
    if (!isKnown()) this.#catalog.noteChange((index) => index.add({ip}));
  }

  /** Candidates from the index that pass; one that does not shows that the index is out of date. */
  #verified(text: string, passes: (ip: Ip) => boolean): Ip[] {
    const candidates = this.#catalog.use((index) => index.find(text));
    const passed = candidates.filter(passes);
    if (passed.length === candidates.length || this.isFresh) return passed;
    this.refresh();
    return [...passed, ...this.#catalog.use((index) => index.find(text)).filter(passes)];
  }

  #unlink(path: string): void {
    try {
      unlinkSync(path);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw storeError('remove', path, error);
    }
  }

  #isEmpty(ip: Ip): boolean {
    const content = readReservation(this.#pathOf(ip));
    return content !== undefined && parseHolder(content) === undefined;
  }

  #contentOf(ip: Ip): string | undefined {
    return readReservation(this.#pathOf(ip))?.trim();
  }

  #pathOf(ip: Ip): string {
    return join(this.directory, formatIp(ip));
  }
}

/** `false` where the file is not there. */
function overwrite(path: string, text: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_TRUNC);
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
  try {
    writeSync(fd, text);
    return true;
  } finally {
    closeSync(fd);
  }
}

function makeDirectory(directory: string): void {
  try {
    ensureDirectory(directory, 0o755);
  } catch (error) {
    throw storeError('create', directory, error);
  }
}

function isThere(directory: string): boolean {
  try {
    return statSync(directory).isDirectory();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
    throw storeError('open', directory, error);
  }
}
