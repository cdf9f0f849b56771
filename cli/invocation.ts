import {basename} from 'node:path';

/** What the executable was called for. */
export type Invocation =
  | {readonly kind: 'plugin'; readonly name: string}
  | {readonly kind: 'cnitool'; readonly args: readonly string[]}
  | {readonly kind: 'weft'; readonly args: readonly string[]};

/**
 * Reads `process.argv`, whose first entry is the executable and whose second the name it was called by: a
 * link of dist/bin, or `weft --plugin <stub> …` from the first line of a stub. A plugin takes no arguments.
 * Under a name that means nothing (the file was renamed) it is the command line tool.
 */
export function parseInvocation(argv: readonly string[], plugins: {has(name: string): boolean}): Invocation {
  const [, calledAs = '', ...rest] = argv;
  const isStub = rest[0] === '--plugin' && rest[1] !== undefined;
  const name = basename(isStub ? rest[1]! : calledAs);
  const args = isStub ? rest.slice(2) : rest;
  if (name === 'cnitool') return {kind: 'cnitool', args};
  if (plugins.has(name) || (isStub && name !== 'weft')) return {kind: 'plugin', name};
  return {kind: 'weft', args};
}
