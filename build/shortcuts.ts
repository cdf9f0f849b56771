import {findCode, machineOf, machines, putCode} from './code.ts';
import {findSymbol, renameImport} from './symbols.ts';

/** Machine code that returns. */
const ret: Readonly<Record<number, string>> = {[machines.x64]: 'c3', [machines.arm64]: 'c0035fd6'};

/** For profilers: goes through all functions of the snapshot at every start. */
const profiling = '_ZN2v811CpuProfiler38UseDetailedSourcePositionsForProfilingEPNS_7IsolateE';

/** `ncrypto::CSPRNG(buffer, size)`, which Node asks for nothing at its start to see whether it can. */
const random = '_ZN7ncrypto6CSPRNGEPvm';
// RAND_status() == 1, RAND_bytes_ex(nullptr, r12, rbx, 0) == 1, and the end that returns true. The second looks at the first itself.
const askForBytes = 'e8........83f80175d431c931ff4889da4c89e6e8........83f80175c05bb801000000415c5dc3';
// Nothing to do where the size in rbx is zero: test %rbx, %rbx; je to the end that returns true.
const unlessEmpty = '4885db74190f1f440000';
/** V8 takes its random numbers from /dev/urandom without it (or, where there is none, from the clock); no secret comes from them. */
const entropy = '_ZN2v82V816SetEntropySourceEPFbPhmE';

/**
 * Lets a Node executable do less at its start, and leave at its end to the kernel what goes with the process. Gives the names
 * of what was not found, and is left as it is.
 */
export function takeShortcuts(image: Buffer): readonly string[] {
  const missing: string[] = [];
  if (!returnAtOnce(image, profiling)) missing.push(profiling);
  // Both, or OpenSSL's generator is set up all the same.
  const at = machineOf(image) === machines.x64 ? findCode(image, random, askForBytes) : undefined;
  if (at === undefined || !returnAtOnce(image, entropy)) missing.push(random);
  else putCode(image, at, unlessEmpty);
  if (!renameImport(image, 'exit', '_exit')) missing.push('exit');
  return missing;
}

function returnAtOnce(image: Buffer, symbol: string): boolean {
  const [at, code] = [findSymbol(image, symbol), ret[machineOf(image)]];
  if (at === undefined || code === undefined) return false;
  putCode(image, at, code);
  return true;
}
