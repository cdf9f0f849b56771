import {openLog} from '../log.ts';
import type {Logger} from '../log.ts';
import {delegate} from './delegate.ts';
import type {Delegation} from './delegate.ts';
import {checkNetworkName} from './environment.ts';
import type {Environment} from './environment.ts';
import {CniError, errorCodes} from './error.ts';
import {splitPath} from './find.ts';
import type {Call, Command} from './plugin.ts';
import {findKey} from './shape.ts';
import type {JsonObject} from './types.ts';
import {unstatedVersion} from './versions.ts';

/** The configuration of a call, as far as every plugin must understand it. */
export interface Configuration {
  readonly conf: JsonObject;
  readonly name: string;
  readonly cniVersion: string;
}

/** Reads what comes on stdin. Throws CniError 6 for what is no configuration, 7 for a bad name. */
export function parseConfiguration(stdin: string): Configuration {
  const conf = parseObject(stdin);
  const name = findKey(conf, 'name') ?? '';
  if (typeof name !== 'string') {
    throw undecodable(
      `error unmarshall network config: name: expected a string, found ${JSON.stringify(name)}`,
    );
  }
  checkNetworkName(name);
  const cniVersion = findKey(conf, 'cniVersion') ?? '';
  if (typeof cniVersion !== 'string') {
    throw undecodable(
      `decoding version from network config: cniVersion: expected a string, found ${JSON.stringify(cniVersion)}`,
    );
  }
  return {conf, name, cniVersion: cniVersion || unstatedVersion};
}

function parseObject(stdin: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(stdin);
  } catch (error) {
    throw undecodable(`error unmarshall network config: ${(error as Error).message}`);
  }
  if (value === null) return {};
  if (typeof value === 'object' && !Array.isArray(value)) return value as JsonObject;
  throw undecodable('error unmarshall network config: it is not an object');
}

function undecodable(msg: string): CniError {
  return new CniError(errorCodes.decodeFailure, msg);
}

/** A process whose call is served by another one. */
export interface Caller {
  readonly pid: number;
  /** Its working folder, which is that of what it executes. */
  readonly cwd: string;
}

interface CallParts {
  readonly pluginName: string;
  readonly command: Command;
  readonly environment: Environment;
  readonly configuration: Configuration;
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  readonly stderr: (text: string) => void;
  readonly callBuiltin: Delegation['callBuiltin'];
  readonly caller: Caller | undefined;
}

/** Puts together what a verb gets. The log is opened when it is first written to. */
export function makeCall(parts: CallParts): Call {
  const {pluginName, command, environment, configuration, env, stdin} = parts;
  const {containerId, netns, ifName, args} = environment;
  const path = splitPath(environment.path);
  const {cniVersion} = configuration;
  const {stderr, callBuiltin, caller} = parts;
  let log: Logger | undefined;
  const warn = (message: string) => stderr(`${pluginName}: ${message}\n`);
  return {
    command,
    containerId,
    netns,
    ifName,
    args,
    path,
    env,
    stdin,
    ...configuration,
    get log() {
      log ??= openCallLog(parts, warn);
      return log;
    },
    warn,
    delegate(type, verb, conf) {
      const input = conf === undefined ? stdin : JSON.stringify(conf);
      const delegation = {env, path, stdin: input, cniVersion, stderr, callBuiltin, cwd: caller?.cwd};
      return delegate(delegation, type, verb);
    },
  };
}

const levels: readonly string[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** A log that cannot be opened is no reason to leave a container without a network. */
function openCallLog(
  {pluginName, command, environment, configuration, env, stderr, caller}: CallParts,
  warn: Call['warn'],
): Logger {
  const {containerId, ifName} = environment;
  const {conf, name} = configuration;
  const bindings = {plugin: pluginName, command, network: name, containerId, ifName};
  const asked = findKey(conf, 'logLevel') ?? (env['WEFT_LOG'] || undefined);
  const file = findKey(conf, 'logFile');
  let level = typeof file === 'string' ? 'info' : 'silent';
  if (typeof asked === 'string' && levels.includes(asked)) level = asked;
  else if (asked !== undefined)
    warn(`unknown log level ${JSON.stringify(asked)}: it is one of ${levels.join(', ')}`);
  try {
    const ofCaller = caller && {pid: caller.pid, write: stderr};
    return openLog({level, bindings, ...ofCaller, ...(typeof file === 'string' && {file})});
  } catch (error) {
    warn(`cannot open the log: ${(error as Error).message}`);
    return openLog({level: 'silent', bindings});
  }
}
