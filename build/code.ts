import {findSymbol} from './symbols.ts';

/** elf.h, e_machine */
export const machines = {x64: 62, arm64: 183} as const;

export function machineOf(image: Buffer): number {
  return image.readUInt16LE(18);
}

// How far behind a function's beginning its code is looked at.
const reach = 256;

/**
 * Where code is in a function, as a place in the file; `code` is hexadecimal, a dot stands for any digit. `undefined` where
 * the function has no such code, or has it more than once, or there is no such function.
 */
export function findCode(image: Buffer, symbol: string, code: string): number | undefined {
  const start = findSymbol(image, symbol);
  if (start === undefined) return undefined;
  const text = image.toString('hex', start, start + reach);
  const found = [...text.matchAll(new RegExp(code, 'g'))].filter(({index}) => index % 2 === 0);
  return found.length === 1 ? start + found[0]!.index / 2 : undefined;
}

export function putCode(image: Buffer, at: number, code: string): void {
  Buffer.from(code, 'hex').copy(image, at);
}
