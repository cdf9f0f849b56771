import {spawn, type ChildProcess} from 'node:child_process';

/** What a finished command left: `code` is null when a signal ended it. */
export interface Output {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
}

export interface CommandOptions {
  /** Whole environment of the command; the caller's own by default. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly stdin?: string;
  /** Time until SIGTERM, and one second more until SIGKILL. 30,000 by default: the machine may be busy. */
  readonly timeoutMs?: number;
  /** Return a failed command's output instead of throwing `CommandError`. */
  readonly mayFail?: boolean;
  /** Called with one line before the command starts and one after it ended. */
  readonly log?: (line: string) => void;
}

/** A command that failed: its message shows the command, how it ended and what it said. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly output: Output;

  constructor(argv: readonly string[], output: Output) {
    const end = output.signal === null ? `exit ${output.code}` : `killed by ${output.signal}`;
    super(`${argv.join(' ')}: ${end}\n${output.stdout}${output.stderr}`.trimEnd());
    this.output = output;
  }
}

/**
 * Runs a command to its end under a deadline and collects what it wrote. Throws `CommandError` when it
 * ends with another code than 0, unless `mayFail`; throws Error when it cannot be started at all.
 */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<Output> {
  const {env = process.env, cwd, stdin = '', timeoutMs = 30_000, mayFail = false, log} = options;
  const started = performance.now();
  log?.(`$ ${argv.join(' ')}`);
  const child = spawn(argv[0] ?? '', argv.slice(1), {env, cwd, stdio: 'pipe'});
  const chunks = {stdout: [] as Buffer[], stderr: [] as Buffer[]};
  child.stdout.on('data', (chunk: Buffer) => chunks.stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => chunks.stderr.push(chunk));
  // A command that does not read its stdin may be gone before it is written.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const {code, signal} = await ended(child, timeoutMs);
  const output: Output = {
    code,
    signal,
    stdout: Buffer.concat(chunks.stdout).toString(),
    stderr: Buffer.concat(chunks.stderr).toString(),
    durationMs: performance.now() - started,
  };
  log?.(`  → ${signal ?? code} in ${output.durationMs.toFixed(0)} ms`);
  if (output.code !== 0) {
    for (const line of `${output.stdout}${output.stderr}`.trimEnd().split('\n')) log?.(`  | ${line}`);
    if (!mayFail) throw new CommandError(argv, output);
  }
  return output;
}

function ended(
  child: ChildProcess,
  timeoutMs: number,
): Promise<{code: number | null; signal: NodeJS.Signals | null}> {
  const {promise, resolve, reject} = Promise.withResolvers<{
    code: number | null;
    signal: NodeJS.Signals | null;
  }>();
  let hard: NodeJS.Timeout | undefined;
  const soft = setTimeout(() => {
    child.kill('SIGTERM');
    hard = setTimeout(() => {
      child.kill('SIGKILL');
      // A grandchild may hold the pipes open; without this the promise would wait for it.
      child.stdout?.destroy();
      child.stderr?.destroy();
    }, 1000);
  }, timeoutMs);
  const settle = () => {
    clearTimeout(soft);
    clearTimeout(hard);
  };
  child.once('error', (error) => {
    settle();
    reject(error);
  });
  child.once('close', (code, signal) => {
    settle();
    resolve({code, signal});
  });
  return promise;
}
