import {
  closeSync,
  constants,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {isErrno, storeError} from './error.ts';
import {ensureDirectory, removeQuietly} from '../files.ts';
import {buildIndex, Index, memoryBytes, readStamp} from './index.ts';
import type {IndexEntry, Stamp} from './index.ts';
import {IndexError, IndexFile} from './index-file.ts';
import {formatHolder, parseFileName, parseHolder} from './reservation.ts';
import {isBookkeeping, unfinishedName} from './tree.ts';

/**
 * Stamps lie in 1973, where no clock is that anybody sets, plus the time since boot: under the lock it
 * only grows, so no two are the same.
 */
const stampBaseSeconds = 100_000_000;

export interface CatalogOptions {
  readonly directory: string;
  /** Where the index is kept; without one every call reads the whole directory. */
  readonly indexDir?: string | undefined;
  readonly bootId: string;
}

/**
 * The index of a directory and how it stays true, under the directory's lock: it counts only while the
 * directory's modification time is the one that we set ourselves after our last change. Whoever else creates or
 * removes a file sets it to now, and the next call reads the directory again.
 */
export class Catalog {
  readonly #options: CatalogOptions;
  #index: Index | undefined;
  /** The whole index where it is not (or not yet) in its file. */
  #image: Buffer | undefined;
  #file: IndexFile | undefined;
  #changed = false;
  #isTrusted = true;

  constructor(options: CatalogOptions) {
    this.#options = options;
  }

  /**
   * What `look` finds in the index. An index that turns out to be broken is built again; `look` may
   * therefore run twice.
   */
  use<T>(look: (index: Index) => T): T {
    try {
      return look((this.#index ??= this.#open()));
    } catch (error) {
      if (this.#image || !(error instanceof IndexError)) throw error;
      this.rebuild();
      return look(this.#index!);
    }
  }

  /** To be called before the directory is changed: afterwards the index in its file is no longer valid. */
  load(): void {
    this.use(() => {});
  }

  /** Says that the directory was changed, and how; `change` does the same to the index. */
  noteChange(change: (index: Index) => void): void {
    this.#changed = true;
    if (!this.#index) return;
    try {
      change(this.#index);
    } catch {
      this.rebuild();
    }
  }

  /** Leaves no valid index behind: the next call reads the directory. */
  distrust(): void {
    this.#isTrusted = false;
  }

  /** Whether what is known came from the directory itself in this call. */
  get isFresh(): boolean {
    return this.#image !== undefined;
  }

  /**
   * Reads the directory itself if its names are not those of the index: somebody may have removed files without
   * the lock, in the moment before we set the time.
   */
  rebuildIfStale(): void {
    if (this.isFresh) return;
    const names = listNames(this.#options.directory).filter(
      (name) => !isBookkeeping(name) && parseFileName(name),
    );
    if (names.length !== this.use((index) => index.countAll())) this.rebuild();
  }

  /** Reads the directory itself, whatever the index says. */
  rebuild(): void {
    this.#closeFile();
    this.#image = buildIndex(this.#readDirectory());
    this.#index = new Index(memoryBytes(this.#image));
  }

  /**
   * Makes the index valid again after our changes. Failing is nobody's trouble: without an index the next
   * call reads the directory.
   */
  close(): void {
    try {
      if (this.#index && (this.#changed || this.#image)) this.#save(this.#index);
    } catch {
      // The directory's time is not the one in the index, whichever step this was.
    } finally {
      this.#closeFile();
    }
  }

  #open(): Index {
    const now = this.#look();
    const path = this.#pathOf(now);
    if (path !== undefined) {
      try {
        this.#file = new IndexFile(path);
        const stamp = readStamp(this.#file);
        if (stamp && sameStamp(stamp, now)) return new Index(this.#file);
      } catch {
        // Not there, not readable, cut short: whatever it is, the directory itself tells all.
      }
    }
    this.rebuild();
    return this.#index!;
  }

  #save(index: Index): void {
    if (index.isWorn || !this.#isTrusted) {
      const worn = this.#pathOf(this.#look());
      if (worn !== undefined) removeQuietly(worn);
      return;
    }
    if (!this.#hasFile) return;
    const stamp = this.#setStamp();
    const path = this.#pathOf(stamp)!;
    // A file system that keeps whole seconds could not tell two of our own changes apart.
    if (stamp.mtimeNs % 1_000_000_000n === 0n) return;
    index.writeStamp(stamp);
    if (!this.#image) {
      this.#file?.flush();
      return;
    }
    ensureDirectory(dirname(path), 0o700);
    const unfinished = join(dirname(path), `.${basename(path)}`);
    const fd = openSync(unfinished, 'w', 0o600);
    try {
      writeSync(fd, this.#image);
    } finally {
      closeSync(fd);
    }
    renameSync(unfinished, path);
  }

  #setStamp(): Stamp {
    const seconds = stampBaseSeconds + Number(process.hrtime.bigint() / 1000n) / 1e6;
    utimesSync(this.#options.directory, seconds, seconds);
    return this.#look();
  }

  #look(): Stamp {
    const {directory, bootId} = this.#options;
    const {dev: device, ino: inode, mtimeNs, ctimeNs} = statSync(directory, {bigint: true});
    return {device, inode, mtimeNs, ctimeNs, bootId};
  }

  get #hasFile(): boolean {
    const {indexDir, bootId} = this.#options;
    return indexDir !== undefined && bootId !== '';
  }

  #pathOf({device, inode}: Stamp): string | undefined {
    const {directory, indexDir} = this.#options;
    if (!this.#hasFile || indexDir === undefined) return undefined;
    return join(indexDir, `${basename(directory)}.${device}-${inode}`);
  }

  #readDirectory(): IndexEntry[] {
    const {directory} = this.#options;
    const entries: IndexEntry[] = [];
    for (const name of listNames(directory)) {
      // Whoever wrote it held the lock that we hold now: it was killed.
      if (name === unfinishedName) removeQuietly(join(directory, name));
      const ip = isBookkeeping(name) ? undefined : parseFileName(name);
      if (!ip) continue;
      const content = readReservation(join(directory, name));
      const holder = content === undefined ? undefined : parseHolder(content);
      if (holder) entries.push({ip, holder: formatHolder(holder)});
      // In use, by nobody knows whom. An empty file is no entry: its address is free.
      else if (content === undefined) entries.push({ip});
    }
    return entries;
  }

  #closeFile(): void {
    this.#file?.close();
    this.#file = undefined;
    this.#index = undefined;
  }
}

/** The content of a file; `undefined` where there is none, or something that cannot be read. A pipe is an empty file. */
export function readReservation(path: string): string | undefined {
  let fd: number | undefined;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    return readFileSync(fd, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EISDIR', 'EACCES', 'EPERM', 'ELOOP')) return undefined;
    throw storeError('read', path, error);
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** The names in a directory. */
export function listNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    throw storeError('list', directory, error);
  }
}

function sameStamp(a: Stamp, b: Stamp): boolean {
  return (
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs &&
    a.inode === b.inode &&
    a.device === b.device &&
    a.bootId === b.bootId
  );
}
