/**
 * Variables that Node's native code reads before any of our code runs, and acts on: it ends with exit code 9, or makes
 * files and folders. The others are dropped in time by cli/environment.ts.
 */
const names = [
  'NODE_REPL_EXTERNAL_MODULE',
  'NODE_V8_COVERAGE',
  'NODE_COMPILE_CACHE',
  'NODE_ICU_DATA',
  'NODE_DEBUG_NATIVE',
];

/**
 * Makes a Node executable look for these variables under names that nobody uses. Node's native code has each of them once,
 * between zero bytes; in the data of its embedded scripts the same letters follow a word with their number.
 */
export function ignoreVariables(image: Buffer): void {
  for (const name of names) {
    const found: number[] = [];
    const pattern = Buffer.from(`\0${name}\0`);
    for (let at = image.indexOf(pattern); at >= 0; at = image.indexOf(pattern, at + 1)) {
      const start = at + 1;
      if (image.readUInt32LE(start - 4) !== name.length) found.push(start);
    }
    if (found.length !== 1)
      throw new Error(`found ${found.length} places where Node reads ${name}, expected one`);
    image.write('-', found[0]!);
  }
}
