import {findCode, machineOf, machines, putCode} from './code.ts';
import {findSymbol, renameImport} from './symbols.ts';

/** Machine code that returns. */
const ret: Readonly<Record<number, string>> = {[machines.x64]: 'c3', [machines.arm64]: 'c0035fd6'};

/** What a process does at its start that a plugin call has no use for. */
const functions = [
  // For profilers: goes through all functions of the snapshot.
  '_ZN2v811CpuProfiler38UseDetailedSourcePositionsForProfilingEPNS_7IsolateE',
  // V8 asks the kernel for its random numbers instead of OpenSSL's generator, which is set up for the first that wants one.
  '_ZN2v82V816SetEntropySourceEPFbPhmE',
];

/** `ncrypto::CSPRNG(buffer, size)`, which Node asks for nothing at its start to see whether it can. */
const random = '_ZN7ncrypto6CSPRNGEPvm';
// RAND_status() == 1 before the bytes are asked for, which looks at that itself.
const status = 'e8........83f80175d431c931ff';
// Nothing to do where the size in rbx is zero: test %rbx, %rbx; je to the end that returns true.
const unlessEmpty = '4885db74190f1f440000';

/**
 * Lets a Node executable do less at its start, and leave at its end to the kernel what goes with the process. Gives the names
 * of what was not found, and is left as it is.
 */
export function takeShortcuts(image: Buffer): readonly string[] {
  const machine = machineOf(image);
  const missing: string[] = [];
  for (const symbol of functions) {
    const [at, code] = [findSymbol(image, symbol), ret[machine]];
    if (at === undefined || code === undefined) missing.push(symbol);
    else putCode(image, at, code);
  }
  const at = machine === machines.x64 ? findCode(image, random, status) : undefined;
  if (at === undefined) missing.push(random);
  else putCode(image, at, unlessEmpty);
  if (!renameImport(image, 'exit', '_exit')) missing.push('exit');
  return missing;
}
