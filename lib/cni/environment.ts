import {CniError, errorCodes} from './error.ts';

/** The variables of a call; "" for what is not set, or not for this verb. */
export interface Environment {
  readonly command: string;
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  readonly args: string;
  readonly path: string;
  readonly netnsOverride: string;
}

interface Variable {
  readonly name: string;
  readonly field: keyof Environment;
  /** Verbs that have a use for it; to the others it is "", whatever the caller's environment holds. */
  readonly takenBy: readonly string[];
  /** Verbs that cannot do without it; of an unknown verb only the command is asked. */
  readonly requiredFor: readonly string[];
  /** Applies where the variable is required and set. Throws CniError 4. */
  readonly validate?: (value: string) => void;
}

const all = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS'];
/** Verbs about one attachment. */
const one = ['ADD', 'DEL', 'CHECK'];

/** In the order in which they are looked at: it decides which error is seen (spec section 2). */
const variables: readonly Variable[] = [
  {name: 'CNI_COMMAND', field: 'command', takenBy: all, requiredFor: all},
  {name: 'CNI_CONTAINERID', field: 'containerId', takenBy: one, requiredFor: one, validate: checkContainerId},
  {name: 'CNI_NETNS', field: 'netns', takenBy: one, requiredFor: ['ADD', 'CHECK']},
  {name: 'CNI_IFNAME', field: 'ifName', takenBy: one, requiredFor: one, validate: checkIfName},
  {name: 'CNI_ARGS', field: 'args', takenBy: all, requiredFor: []},
  {name: 'CNI_PATH', field: 'path', takenBy: all, requiredFor: all},
  {name: 'CNI_NETNS_OVERRIDE', field: 'netnsOverride', takenBy: one, requiredFor: []},
];

/** Reads and validates the variables of a call. Throws CniError 4 that names them. */
export function parseEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const missing: string[] = [];
  const command = env['CNI_COMMAND'] ?? '';
  for (const {name, requiredFor, validate} of variables) {
    const value = env[name] ?? '';
    const isRequired = requiredFor.includes(command) || name === 'CNI_COMMAND';
    if (!isRequired) continue;
    if (value === '') missing.push(name);
    else validate?.(value);
  }
  if (missing.length > 0) throw refuse(`required env variables [${missing.join(',')}] missing`);
  const entries = variables.map(({name, field, takenBy}) => {
    const isTaken = name === 'CNI_COMMAND' || takenBy.includes(command);
    return [field, isTaken ? (env[name] ?? '') : ''];
  });
  return Object.fromEntries(entries) as Environment;
}

/** Whether the caller says that the container's namespace may be the plugin's own. */
export function allowsOwnNetns({netnsOverride}: Environment): boolean {
  return netnsOverride === '1' || netnsOverride.toLowerCase() === 'true';
}

const identifier = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Throws CniError 4 for what is no container id. */
export function checkContainerId(id: string): void {
  if (!identifier.test(id)) throw refuse('invalid characters in containerID', id);
}

/** Throws CniError 4 for what the kernel does not take as the name of an interface. */
export function checkIfName(name: string): void {
  if (name === '') throw refuse('interface name is empty');
  if (Buffer.byteLength(name) > 15) {
    throw refuse('interface name is too long', 'interface name should be less than 16 characters');
  }
  if (name === '.' || name === '..') throw refuse('interface name is . or ..');
  // U+0085 is white space to the reference, though not to \s; U+FEFF the other way round.
  if (/[/:\u0085]|(?!\ufeff)\s/.test(name)) {
    throw refuse('interface name contains / or : or whitespace characters');
  }
}

/** Throws CniError 7 for what cannot be the name of a network. */
export function checkNetworkName(name: string): void {
  if (name === '') throw new CniError(errorCodes.invalidConfig, 'missing network name');
  if (!identifier.test(name)) {
    throw new CniError(errorCodes.invalidConfig, 'invalid characters found in network name', name);
  }
}

function refuse(msg: string, details = ''): CniError {
  return new CniError(errorCodes.invalidEnvironment, msg, details);
}
