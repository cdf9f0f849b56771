import pkg from '../../package.json' with {type: 'json'};
import {monotonicMs} from '../clock.ts';
import {validAttachments} from './attachments.ts';
import {makeCall, parseConfiguration} from './call.ts';
import type {Caller} from './call.ts';
import {allowsOwnNetns, parseEnvironment} from './environment.ts';
import type {Environment} from './environment.ts';
import {CniError, errorCodes} from './error.ts';
import {describeFailure, formatFailure, toCniError} from './failure.ts';
import {isOwnNetns} from './own-netns.ts';
import type {Call, Command, Plugin} from './plugin.ts';
import {formatResult, resultJson} from './result-format.ts';
import {parseResult} from './result.ts';
import type {Result} from './types.ts';
import {checkVersion, currentVersion, isAtLeast} from './versions.ts';

/** What connects a plugin to whoever runs it: a process (stdio.ts), the agent, or a test. */
export interface PluginIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Everything up to the end of the configuration. */
  readonly stdin: () => Promise<string>;
  /** Done when all of it is written. */
  readonly stdout: (text: string) => Promise<void>;
  readonly stderr: (text: string) => void;
  /** The process that was executed for this call, where that is not this one. */
  readonly caller?: Caller;
}

/** The plugin that a file found in CNI_PATH is, if it is of this very program. */
export type FindBuiltin<Host> = (file: string) => Plugin<Host> | undefined;

/**
 * Runs a plugin for one call (spec section 2): reads and validates what it is asked, runs the verb,
 * prints the result or the error. Gives the exit code. VERSION touches neither stdin nor `host`.
 */
export async function runPlugin<Host>(
  plugin: Plugin<Host>,
  io: PluginIo,
  host: Host,
  findBuiltin: FindBuiltin<Host>,
): Promise<0 | 1> {
  try {
    if (io.env['CNI_COMMAND'] === 'VERSION') {
      await io.stdout(
        `${JSON.stringify({cniVersion: currentVersion, supportedVersions: plugin.versions})}\n`,
      );
    } else if (!io.env['CNI_COMMAND']) {
      io.stderr(formatAbout(plugin));
    } else {
      await serve(plugin, io, host, findBuiltin);
    }
    return 0;
  } catch (error) {
    await io.stdout(formatFailure(error)).catch((writeError: unknown) => {
      io.stderr(
        `${plugin.name}: ${describeFailure(error)}; cannot report it: ${describeFailure(writeError)}\n`,
      );
    });
    return 1;
  }
}

function formatAbout({
  name,
  versions,
}: {
  readonly name: string;
  readonly versions: readonly string[];
}): string {
  return `CNI ${name} plugin weft v${pkg.version}\nCNI protocol versions supported: ${versions.join(', ')}\n`;
}

async function serve<Host>(
  plugin: Plugin<Host>,
  io: PluginIo,
  host: Host,
  findBuiltin: FindBuiltin<Host>,
): Promise<void> {
  const environment = parseEnvironment(io.env);
  const stdin = await readStdin(io);
  const env = definedOnly(io.env);
  const request = {environment, env, stdin, stderr: io.stderr, caller: io.caller};
  const {call, result} = await runVerb(plugin, request, host, findBuiltin);
  if (!result) return;
  try {
    await io.stdout(formatResult(result, call.cniVersion));
  } catch (error) {
    // What nobody has been told of would stay for ever: take it back.
    await undoAdd(plugin, call, host);
    throw error;
  }
}

async function readStdin(io: PluginIo): Promise<string> {
  try {
    return await io.stdin();
  } catch (error) {
    throw new CniError(errorCodes.ioFailure, `error reading from stdin: ${describeFailure(error)}`);
  }
}

interface Request {
  readonly environment: Environment;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly stderr: (text: string) => void;
  readonly caller: Caller | undefined;
  /** Whether its network namespace is known not to be our own. */
  readonly isChecked?: boolean;
}

/** Validates a request in the order of the reference's skeleton and runs its verb. */
async function runVerb<Host>(
  plugin: Plugin<Host>,
  request: Request,
  host: Host,
  findBuiltin: FindBuiltin<Host>,
): Promise<{readonly call: Call; readonly result: Result | undefined}> {
  const configuration = parseConfiguration(request.stdin);
  const command = parseCommand(request.environment.command);
  checkVersion(command, configuration.cniVersion, plugin.versions);
  const sharesNetns = !request.isChecked && hasOwnNetns(command, request.environment);
  if (sharesNetns && command === 'ADD') throw ownNetnsRefused();
  const call = makeCall({
    ...(sharesNetns ? withoutNetns(request) : request),
    pluginName: plugin.name,
    command,
    configuration,
    callBuiltin: (file, input) => {
      const builtin = findBuiltin(file);
      if (builtin?.name === plugin.name) throw delegatesToItself(plugin.name);
      // Its namespace is this call's.
      return builtin && callBuiltin(builtin, {...request, ...input, isChecked: true}, host, findBuiltin);
    },
  });
  const result = await runLogged(plugin, call, host);
  if (sharesNetns) throw ownNetnsRefused();
  return {call, result};
}

async function runLogged<Host>(plugin: Plugin<Host>, call: Call, host: Host): Promise<Result | undefined> {
  const startedMs = monotonicMs();
  try {
    const result = await runHandler(plugin, call, host);
    call.log.info({tookMs: Math.round(monotonicMs() - startedMs)}, 'done');
    return result;
  } catch (error) {
    call.log.error({error, tookMs: Math.round(monotonicMs() - startedMs)}, 'failed');
    throw error;
  }
}

async function runHandler<Host>(plugin: Plugin<Host>, call: Call, host: Host): Promise<Result | undefined> {
  switch (call.command) {
    case 'ADD':
      return plugin.add(call, host);
    case 'DEL':
      await plugin.del(call, host);
      return undefined;
    case 'CHECK':
      await plugin.check(call, host);
      return undefined;
    case 'GC':
      // Asked here, so that no plugin can remove anything without the list.
      validAttachments(call);
      await plugin.gc(call, host);
      return undefined;
    case 'STATUS':
      await runStatus(plugin, call, host);
      return undefined;
  }
}

/** A failure that has no code of its own is error 50 here: whatever it is, no ADD could be served. */
async function runStatus<Host>(plugin: Plugin<Host>, call: Call, host: Host): Promise<void> {
  try {
    await plugin.status(call, host);
  } catch (error) {
    const {code, message, details} = toCniError(error);
    if (code !== errorCodes.internal) throw error;
    throw new CniError(errorCodes.notAvailable, message, details);
  }
}

/** A delegate in process: the same checks as in a process of its own, and the same result. */
async function callBuiltin<Host>(
  builtin: Plugin<Host>,
  request: Omit<Request, 'environment'>,
  host: Host,
  findBuiltin: FindBuiltin<Host>,
): Promise<{readonly result: Result | undefined}> {
  const environment = parseEnvironment(request.env);
  const {call, result} = await runVerb(builtin, {...request, environment}, host, findBuiltin);
  // The two oldest versions cannot say everything: what is lost in a process is lost here too.
  if (!result || isAtLeast(call.cniVersion, '0.3.0')) return {result};
  try {
    return {result: parseResult(resultJson(result, call.cniVersion), call.cniVersion)};
  } catch (error) {
    // As in a process: who asked hears only that it failed.
    await undoAdd(builtin, call, host);
    throw error;
  }
}

/** It would go on for ever. */
function delegatesToItself(name: string): CniError {
  return new CniError(
    errorCodes.invalidConfig,
    `plugin ${name} delegates to itself`,
    `"ipam" or "delegate" has a "type" that is this plugin; name one that hands out addresses, such as "host-local", or that makes interfaces, such as "bridge"`,
  );
}

async function undoAdd<Host>(plugin: Plugin<Host>, call: Call, host: Host): Promise<void> {
  try {
    await plugin.del({...call, log: call.log, command: 'DEL', env: {...call.env, CNI_COMMAND: 'DEL'}}, host);
  } catch (error) {
    call.warn(`undoing the ADD: ${describeFailure(error)}`);
  }
}

function parseCommand(command: string): Command {
  const known: readonly string[] = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'];
  if (known.includes(command)) return command as Command;
  throw new CniError(errorCodes.invalidEnvironment, `unknown CNI_COMMAND: ${command}`);
}

/**
 * Whether the "container's" namespace is our own. The reference looks after the verb, when the
 * host's interfaces are already changed and the result is printed; we look before. A DEL still cleans
 * what is not in the namespace (it may be a process id that was used again), then fails as theirs.
 */
function hasOwnNetns(command: Command, environment: Environment): boolean {
  if (command !== 'ADD' && command !== 'DEL') return false;
  return environment.netns !== '' && !allowsOwnNetns(environment) && isOwnNetns(environment.netns);
}

function withoutNetns(request: Request): Request {
  const {environment, env} = request;
  return {...request, environment: {...environment, netns: ''}, env: {...env, CNI_NETNS: ''}};
}

function ownNetnsRefused(): CniError {
  return new CniError(
    errorCodes.invalidNetns,
    "plugin's netns and netns from CNI_NETNS should not be the same",
    'CNI_NETNS_OVERRIDE=1 allows it',
  );
}

function definedOnly(env: PluginIo['env']): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
