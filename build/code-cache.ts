import {execFileSync} from 'node:child_process';
import {closeSync, openSync, readFileSync, writeSync} from 'node:fs';
import {workDir} from './paths.ts';

/** Where the room for the compiled code is in the finished executable. */
const marker = Buffer.from('weft: compiled code of the tools'.padEnd(32));
/** Of the room: the marker, and how many bytes of what follows are used. */
const headerSize = marker.length + 8;

/**
 * An asset with room for the compiled code of a bundle. V8 takes compiled code only in a process that started from the
 * very snapshot it was compiled in, and no two snapshots are equal: so the executable has to be there first.
 */
export function makeRoom(bundle: string): Buffer {
  return Buffer.concat([marker, Buffer.alloc(8), Buffer.alloc(2 * Buffer.byteLength(bundle))]);
}

/** Lets a new executable compile the bundle of its tools, and writes the result into the room it has for it. */
export function fillRoom(executable: string): void {
  const output = `${workDir}/tools.cache`;
  execFileSync(executable, [output], {stdio: 'inherit', env: {}});
  const code = readFileSync(output);
  const image = readFileSync(executable);
  const start = image.indexOf(marker);
  if (start < 0 || image.indexOf(marker, start + 1) >= 0)
    throw new Error(`${executable} has no room for compiled code`);
  if (image.subarray(start + headerSize, start + headerSize + code.length).some((byte) => byte !== 0)) {
    throw new Error(`${code.length} bytes of compiled code do not fit: see makeRoom in build/code-cache.ts`);
  }
  const used = Buffer.alloc(8);
  used.writeUInt32LE(code.length);
  const fd = openSync(executable, 'r+');
  try {
    writeSync(fd, used, 0, used.length, start + marker.length);
    writeSync(fd, code, 0, code.length, start + headerSize);
  } finally {
    closeSync(fd);
  }
}
