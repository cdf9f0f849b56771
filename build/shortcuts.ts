import {findSymbol, renameImport} from './symbols.ts';

/** Machine code that returns, and that returns 1, by e_machine of the file. */
const code: Readonly<Record<number, {readonly nothing: Buffer; readonly one: Buffer}>> = {
  // EM_X86_64: ret; mov $1, %eax before it.
  62: {nothing: Buffer.from('c3', 'hex'), one: Buffer.from('b801000000c3', 'hex')},
  // EM_AARCH64: ret; mov w0, #1 before it.
  183: {nothing: Buffer.from('c0035fd6', 'hex'), one: Buffer.from('20008052c0035fd6', 'hex')},
};

/** What a process does at its start, or its end, that a plugin call has no use for. */
const functions = [
  // For profilers: goes through all functions of the snapshot.
  {symbol: '_ZN2v811CpuProfiler38UseDetailedSourcePositionsForProfilingEPNS_7IsolateE', gives: 'nothing'},
  // OpenSSL's generator of random numbers is set up when the first is asked for, not at every start. Whether that worked
  // is seen then.
  {symbol: 'RAND_status', gives: 'one'},
  // V8 asks the kernel for its random numbers instead of OpenSSL's generator.
  {symbol: '_ZN2v82V816SetEntropySourceEPFbPhmE', gives: 'nothing'},
] as const;

/**
 * Makes these functions of a Node executable return at once, and ends the process without tidying up memory that goes with
 * it. Gives the names of those that were not found, and are left alone.
 */
export function takeShortcuts(image: Buffer): readonly string[] {
  const returns = code[image.readUInt16LE(18)];
  const missing = functions.filter(({symbol, gives}) => {
    const at = findSymbol(image, symbol);
    if (at === undefined || returns === undefined) return true;
    returns[gives].copy(image, at);
    return false;
  });
  const isExitFound = renameImport(image, 'exit', '_exit');
  return [...missing.map(({symbol}) => symbol), ...(isExitFound ? [] : ['exit'])];
}
