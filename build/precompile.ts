import {existsSync, readFileSync} from 'node:fs';
import {relative} from 'node:path';
import type {Loader, Plugin} from 'esbuild';

import {makeEager, reachableName} from './eager.ts';
import {root} from './paths.ts';

/*
 * V8 compiles a function when it is first called, and a plugin calls three hundred different ones: a fifth of its
 * processor time. What is compiled when the start-up snapshot is made stays so. To compile everything would make the
 * snapshot larger than what is gained: so it is done for the functions that build/precompiled.json lists, which
 * `node bench/precompiled.ts` found by running the usual plugins.
 */

/** By file: names of top-level functions, classes' methods as `Class.method`, and objects that hold functions. */
export type PrecompiledNames = Readonly<Record<string, readonly string[]>>;

const listFile = `${root}/build/precompiled.json`;
/** A global of the script that makes the snapshot; gone before it is made. */
const collector = '__weftPrecompile';

export function readPrecompiledNames(): PrecompiledNames {
  return existsSync(listFile) ? (JSON.parse(readFileSync(listFile, 'utf8')) as PrecompiledNames) : {};
}

/** Lets each file hand over its functions that are to be compiled. */
export function precompile(names: PrecompiledNames): Plugin {
  return {
    name: 'precompile',
    setup(build) {
      build.onLoad({filter: /\.[cm]?[jt]s$/, namespace: 'file'}, ({path}) => {
        const listed = names[keyOf(path)];
        if (listed === undefined) return undefined;
        const loader: Loader = path.endsWith('ts') ? 'ts' : 'js';
        const source = readFileSync(path, 'utf8');
        const eager = makeEager(path, source, listed);
        return {contents: `${eager}\n${formatHandover(listed.map(reachableName), source)}`, loader};
      });
    },
  };
}

/** A file's name in the list; packages may lie elsewhere. */
function keyOf(path: string): string {
  return path.includes('/node_modules/')
    ? path.replace(/^.*\/node_modules\//, 'node_modules/')
    : relative(root, path);
}

/** Whether a file declares at its top what the list says: it may have been renamed since. */
export function isDeclared(name: string, source: string): boolean {
  const declaration = '(?:export )?(?:async )?(?:abstract )?(?:function\\*?|class|const|let|var)';
  return new RegExp(`^ *${declaration} ${name}\\b`, 'm').test(source);
}

/** `?.`: whoever evaluates the module in a process of its own has no use for it. */
function formatHandover(listed: readonly string[], source: string): string {
  const members = new Map<string, string[]>();
  for (const name of listed) {
    const [top = '', member] = name.split('.');
    members.set(top, [...(members.get(top) ?? []), ...(member === undefined ? [] : [member])]);
  }
  const calls = [...members]
    .filter(([top]) => isDeclared(top, source))
    .map(([top, own]) => `${collector}?.(${top}, ${JSON.stringify(own)});`);
  return calls.map((call) => `globalThis.${call}`).join('\n');
}

/** The script with what compiles the functions handed over, once all of it is evaluated. */
export function withPrecompiling(script: string): string {
  // In one line with the script's first: its lines keep their numbers.
  return `{const found = []; globalThis.${collector} = (...each) => found.push(each); globalThis.${collector}.found = found;}${script}
(${compileFound.toString()})(${JSON.stringify(collector)}, require('node:v8').setFlagsFromString);`;
}

/** Runs in the script that makes the snapshot: it may use nothing of this file. */
function compileFound(collector: string, setFlag: (flag: string) => void): void {
  const {found} = (globalThis as Record<string, unknown>)[collector] as {
    found: readonly (readonly [unknown, readonly string[]])[];
  };
  delete (globalThis as Record<string, unknown>)[collector];
  setFlag('--allow-natives-syntax');
  // oxlint-disable-next-line typescript/no-implied-eval -- what V8 offers for this is a syntax of its own
  const compile = new Function('each', '%EnsureFeedbackVectorForFunction(each)') as (each: object) => void;
  setFlag('--no-allow-natives-syntax');
  const seen = new Set<unknown>();
  for (const [value, members] of found) {
    if (typeof value !== 'function' || members.length === 0) visit(value, 0);
    else
      for (const holder of [value, value.prototype as object])
        for (const [name, property] of Object.entries(Object.getOwnPropertyDescriptors(holder)))
          if (members.includes(name)) for (const part of Object.values(property)) visit(part, 0);
  }

  function visit(value: unknown, depth: number): void {
    if (value === null || seen.has(value) || depth > 5) return;
    seen.add(value);
    if (typeof value === 'function') compile(value);
    else if (value instanceof Map) for (const each of value.values()) visit(each, depth + 1);
    else if (typeof value === 'object' && !ArrayBuffer.isView(value))
      for (const property of Object.values(Object.getOwnPropertyDescriptors(value)))
        for (const part of Object.values(property)) visit(part, depth + 1);
  }
}
