import {execFileSync} from 'node:child_process';
import {closeSync, openSync, readFileSync, writeSync} from 'node:fs';
import {workDir} from './paths.ts';

/** Marks the room for the compiled code of a bundle in the finished executable. */
const markerOf = (name: string) => Buffer.from(`weft: code of ${name}`.padEnd(markerSize));
const markerSize = 32;
/** Of the room: the marker, and how many bytes of what follows are used. */
const headerSize = markerSize + 8;

/**
 * An asset with room for the compiled code of a bundle. V8 takes compiled code only in a process that started from the
 * very snapshot it was compiled in, and no two snapshots are equal: so the executable has to be there first.
 */
export function makeRoom(name: string, bundle: string): Buffer {
  return Buffer.concat([markerOf(name), Buffer.alloc(8), Buffer.alloc(2 * Buffer.byteLength(bundle))]);
}

/** Lets a new executable compile its bundles, and writes the results into the room it has for them. */
export function fillRooms(executable: string, names: readonly string[]): void {
  execFileSync(executable, [workDir], {stdio: 'inherit', env: {}});
  const image = readFileSync(executable);
  const fd = openSync(executable, 'r+');
  try {
    for (const name of names) fillRoom({name, image, fd});
  } finally {
    closeSync(fd);
  }
}

interface Room {
  readonly name: string;
  readonly image: Buffer;
  readonly fd: number;
}

function fillRoom({name, image, fd}: Room): void {
  const code = readFileSync(`${workDir}/${name}.cache`);
  const marker = markerOf(name);
  const start = image.indexOf(marker);
  if (start < 0 || image.indexOf(marker, start + 1) >= 0)
    throw new Error(`the executable has no room for compiled code of the ${name}`);
  if (image.subarray(start + headerSize, start + headerSize + code.length).some((byte) => byte !== 0)) {
    throw new Error(`${code.length} bytes of compiled code do not fit: see makeRoom in build/code-cache.ts`);
  }
  const used = Buffer.alloc(8);
  used.writeUInt32LE(code.length);
  writeSync(fd, used, 0, used.length, start + marker.length);
  writeSync(fd, code, 0, code.length, start + headerSize);
}
