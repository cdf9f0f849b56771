import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';
import {root} from './paths.ts';

/** What the native client is made of. */
const sources = [`${root}/client/weft-client.c`, `${root}/client/start.h`] as const;

/**
 * The whole of what the compiler is told. Nothing of a C library gets in, and nothing that would need one: guards of
 * the stack, unwinding, loops that are turned into calls of the very function they are in.
 */
const flags = [
  '-std=gnu11',
  '-Os',
  '-Wall',
  '-Wextra',
  '-ffreestanding',
  '-fno-stack-protector',
  '-fno-asynchronous-unwind-tables',
  '-fno-unwind-tables',
  '-fno-pie',
  '-fno-tree-loop-distribute-patterns',
  '-U_FORTIFY_SOURCE',
  '-nostdlib',
  '-static',
  '-no-pie',
  '-s',
  '-Wl,--build-id=none',
  '-Wl,-z,noexecstack',
] as const;

/** The compiler for the machine that builds: of whatever make, but it has to take gcc's options. */
export const hostCompiler = 'cc';

/** The text of the client's sources: part of what makes one build different from another. */
export function readClientSources(): string {
  return sources.map((file) => readFileSync(file, 'utf8')).join('\0');
}

/**
 * Compiles the native client for the machine that `compiler` compiles for. Gives undefined where that worked, else why
 * not, as the end of a sentence.
 */
export function compileClient({
  output,
  compiler = hostCompiler,
  options = [],
}: {
  readonly output: string;
  readonly compiler?: string;
  readonly options?: readonly string[];
}): string | undefined {
  const {error, status, stderr} = spawnSync(compiler, [...flags, ...options, sources[0], '-o', output], {
    encoding: 'utf8',
  });
  if (error !== undefined) return `there is no C compiler ${compiler} (${error.message})`;
  if (status === 0) return undefined;
  const line = stderr.split('\n').find((each) => each.includes('error')) ?? stderr.trim();
  return `${compiler} cannot compile it: ${line}`;
}
