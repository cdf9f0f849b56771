import {readFileSync} from 'node:fs';
import type {output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {prepareShape, readShape, ShapeError} from '../lib/cni/shape.ts';
import type {Json} from '../lib/cni/types.ts';
import {findIntended} from '../lib/cni/typo.ts';
import {cniShape} from './cni/conf.ts';
import {absolutePath} from './fields.ts';
import {httpShape} from './http/conf.ts';
import {overlayShape} from './overlay/conf.ts';
import {repairShape} from './repair/conf.ts';
import {namesShape} from './names/conf.ts';
import {registryShape} from './registry/conf.ts';
import {servicesShape} from './services/conf.ts';
import {sharingShape} from './sharing/conf.ts';

export const defaultConfigFile = '/etc/weft/agent.json';

/** Each module defines the shape of its section in a `conf.ts` of its own folder; here is the table of them. */
const agentShape = prepareShape(
  z.object({
    logLevel: z._default(z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']), 'info'),
    /** Where lines of the log are appended; stderr if not given. */
    logFile: z.optional(absolutePath),
    /** Where the sockets are; made if it is not there. */
    runDir: z._default(absolutePath, '/run/weft'),
    /** This host's name among others; the machine's if not given. */
    node: z.optional(z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/))),
    http: z._default(httpShape, {}),
    cni: z._default(cniShape, {enabled: true, maxCalls: 1024}),
    overlay: z.optional(overlayShape),
    names: z.optional(namesShape),
    services: z.optional(servicesShape),
    registry: z.optional(registryShape),
    sharing: z.optional(sharingShape),
    repair: z.optional(repairShape),
  }),
);

/** The agent's configuration, /etc/weft/agent.json, validated. */
export type AgentConfig = Readonly<output<typeof agentShape>>;

/** A configuration that cannot be used; the message names the file, the key, the value and the remedy. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/**
 * Reads a configuration file; without a name the usual one, where no file means the defaults. Keys that mean nothing are an
 * error: a typing mistake must not go unnoticed.
 */
export function readConfig(file?: string): AgentConfig {
  const path = file ?? defaultConfigFile;
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if (file === undefined && (cause as NodeJS.ErrnoException).code === 'ENOENT') return parseConfig('{}');
    throw new ConfigError(`cannot read ${path}: ${(cause as Error).message}`);
  }
  return parseConfig(text, path);
}

/** Reads the text of a configuration file; `file` is for messages. */
export function parseConfig(text: string, file = defaultConfigFile): AgentConfig {
  let json: Json;
  try {
    json = JSON.parse(text) as Json;
  } catch (cause) {
    throw new ConfigError(`${file} is not JSON: ${(cause as Error).message}`);
  }
  if (json === null || typeof json !== 'object' || Array.isArray(json)) {
    throw new ConfigError(`${file}: expected an object`);
  }
  try {
    return readShape(agentShape, json, (path, key, known) => {
      const meant = findIntended(key, known);
      const remedy = meant === undefined ? '' : `; is "${meant}" meant?`;
      throw new ConfigError(`${file}: unknown key "${path}"${remedy}`);
    });
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    const {path, message} = error;
    throw new ConfigError(path === '' ? `${file}: ${message}` : `${file}: "${path}": ${message}`);
  }
}
