import {spawn} from 'node:child_process';
import {accessSync, constants} from 'node:fs';
import path from 'node:path';
import {CniError, errorCodes} from '../cni/error.ts';

/** How iptables tools are found and run. */
export interface IptablesOptions {
  /** Environment of the tools, the process's by default; its PATH is searched first. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Where to look then: runtimes may have a PATH without sbin. Where tools usually are, by default. */
  readonly directories?: readonly string[] | undefined;
  /** Time after which a tool that waits for the xtables lock is given up; 55 s by default. */
  readonly timeoutMs?: number | undefined;
}

const usualDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/** The path of a tool, or `undefined` where it is not installed. */
export function findTool(
  name: string,
  {env = process.env, directories = usualDirectories}: IptablesOptions,
): string | undefined {
  for (const directory of [...(env['PATH'] ?? '').split(':'), ...directories]) {
    if (!path.isAbsolute(directory)) continue;
    const file = path.join(directory, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      continue;
    }
  }
  return undefined;
}

/** What a tool wrote to stdout. Throws an Error with what it wrote to stderr when it failed. */
export async function runTool(
  name: string,
  args: readonly string[],
  options: IptablesOptions,
  stdin = '',
): Promise<string> {
  const file = findTool(name, options);
  if (file === undefined) {
    throw new CniError(
      errorCodes.internal,
      `${name} is not installed`,
      'the iptables backend needs it: install the package iptables, or choose the backend "nftables"',
    );
  }
  const child = spawn(file, [...args], {env: options.env ?? process.env, stdio: 'pipe'});
  const {promise, resolve, reject} = Promise.withResolvers<string>();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
  // A tool that refuses its input may be gone before all of it is written; its exit code tells.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const timeoutMs = options.timeoutMs ?? 55_000;
  const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
  child.once('error', (cause) => reject(new Error(`run ${file}`, {cause})));
  child.once('close', (code, signal) => {
    if (code === 0) resolve(stdout);
    else if (signal)
      reject(new Error(`${name} did not end within ${timeoutMs} ms (${signal}): ${stderr.trim()}`));
    else reject(new Error(`${name} failed with exit code ${code}: ${stderr.trim()}`));
  });
  return promise.finally(() => clearTimeout(timer));
}
