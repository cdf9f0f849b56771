import {spawn} from 'node:child_process';
import {setTimeout as sleep} from 'node:timers/promises';
import {CniError, errorCodes} from './error.ts';
import {findKey} from './shape.ts';
import type {Json, JsonObject} from './types.ts';

/** One execution of a plugin. */
export interface Execution {
  readonly file: string;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Gets what the plugin says on stderr, as it comes. */
  readonly stderr: (text: string) => void;
  /** Its working folder; this process's own if not given. */
  readonly cwd?: string | undefined;
  /** When to kill a plugin that does not end. */
  readonly timeoutMs?: number;
  /** How long to wait before a file that is just being written is tried again. */
  readonly busyDelayMs?: number;
}

/** Longer than any plugin should need: a DHCP plugin may wait a minute for its server. */
export const defaultTimeoutMs = 240_000;

const busyAttempts = 6;

/**
 * Runs a plugin and gives its stdout. A plugin that fails throws the CniError it printed, unchanged;
 * one that prints none throws the reference's sentences about it (code 999).
 */
export async function execPlugin(execution: Execution): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await runOnce(execution);
    } catch (error) {
      // The file is open for writing: somebody is installing it at this moment.
      const isBusy = (error as NodeJS.ErrnoException).code === 'ETXTBSY';
      if (!isBusy || attempt === busyAttempts) throw isBusy ? failedToStart(execution, error) : error;
      await sleep(execution.busyDelayMs ?? 1000);
    }
  }
}

function runOnce({file, env, stdin, stderr, cwd, timeoutMs = defaultTimeoutMs}: Execution): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, [], {env: {...env}, stdio: 'pipe', cwd});
    const stdoutChunks: Buffer[] = [];
    const stderrChunks: Buffer[] = [];
    let isLate = false;
    const deadline = setTimeout(() => {
      isLate = true;
      child.kill('SIGKILL');
    }, timeoutMs);

    child.stdout.on('data', (chunk: Buffer) => stdoutChunks.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      stderrChunks.push(chunk);
      stderr(chunk.toString());
    });
    // A plugin that ends without reading its configuration breaks the pipe; its exit code tells more.
    child.stdin.on('error', () => {});
    child.stdin.end(stdin);

    child.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(deadline);
      reject(error.code === 'ETXTBSY' ? error : failedToStart({file}, error));
    });
    // A daemon that the plugin left behind may hold its pipes open for ever.
    child.on('exit', () => setTimeout(closePipes, 1000).unref());
    const closePipes = () => {
      child.stdout.destroy();
      child.stderr.destroy();
    };
    child.on('close', (code, signal) => {
      clearTimeout(deadline);
      const output = Buffer.concat(stdoutChunks).toString();
      if (isLate) reject(late(file, timeoutMs));
      else if (code === 0) resolve(output);
      else reject(parseFailure(output, Buffer.concat(stderrChunks).toString(), exitText(code, signal)));
    });
  });
}

function exitText(code: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `exit status ${code}` : `signal: ${signal}`;
}

function late(file: string, timeoutMs: number): CniError {
  return new CniError(
    errorCodes.tryAgainLater,
    `netplugin failed: ${file} did not end within ${timeoutMs} ms and was killed`,
    'WEFT_DELEGATE_TIMEOUT_MS sets another limit',
  );
}

function failedToStart({file}: Pick<Execution, 'file'>, error: unknown): CniError {
  const {code, message} = error as NodeJS.ErrnoException;
  return new CniError(
    errorCodes.internal,
    `netplugin failed with no error message: cannot execute ${file}: ${code ?? message}`,
    code === 'EACCES' ? 'is it executable, and its file system mounted without noexec?' : '',
  );
}

/** What a plugin that failed said of it (spec section 5), or failed to say. */
function parseFailure(stdout: string, stderr: string, exit: string): CniError {
  if (stdout === '') {
    const msg = stderr === '' ? `with no error message: ${exit}` : '';
    return new CniError(
      errorCodes.internal,
      msg === '' ? `netplugin failed: ${JSON.stringify(stderr)}` : `netplugin failed ${msg}`,
    );
  }
  let json: Json;
  try {
    json = JSON.parse(stdout) as Json;
    if (json === null || typeof json !== 'object' || Array.isArray(json)) throw new Error('not an object');
  } catch (error) {
    return new CniError(
      errorCodes.internal,
      `netplugin failed but error parsing its diagnostic message ${JSON.stringify(stdout)}: ${(error as Error).message}`,
    );
  }
  const [code, msg, details] = ['code', 'msg', 'details'].map((key) => findKey(json as JsonObject, key));
  return new CniError(
    typeof code === 'number' ? code : errorCodes.internal,
    typeof msg === 'string' ? msg : '',
    typeof details === 'string' ? details : '',
  );
}
