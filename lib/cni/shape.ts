import {safeParse} from 'zod/v4/core';
import type {$ZodRawIssue, $ZodType, output} from 'zod/v4/core';
import type {Json, JsonObject} from './types.ts';

/** A value that does not have the shape a schema asks for. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  /** Where in the document: "ipam.ranges[0][0].subnet", or "" for the document itself. */
  readonly path: string;
  /** Whether `message` is a field's own sentence, which does not name the path. */
  readonly isOwnSentence: boolean;

  constructor(path: string, message: string, {isOwnSentence}: {isOwnSentence: boolean}) {
    super(message);
    this.path = path;
    this.isOwnSentence = isOwnSentence;
  }
}

/** Told of each key that no schema knows: its path, the key, and the keys known beside it. */
export type OnUnknownKey = (path: string, key: string, known: Iterable<string>) => void;

/**
 * Reads `json` as Go's encoding/json reads into a struct: keys match in any case, of several
 * spellings the later wins (objects merge), null leaves the default, unknown keys are ignored.
 * Throws a ShapeError for the first value of a wrong type.
 */
export function readShape<S extends $ZodType>(schema: S, json: Json, onUnknownKey?: OnUnknownKey): output<S> {
  const spelled = spell(json, levelOf(schema), '', onUnknownKey, undefined);
  const parsed = safeParse(schema, spelled, {reportInput: true});
  if (parsed.success) return parsed.data;
  throw shapeError(parsed.error.issues[0] as $ZodRawIssue);
}

/** Computes what `readShape` needs of a schema, so that the snapshot holds it; gives the schema back. */
export function prepareShape<S extends $ZodType>(schema: S): S {
  levelOf(schema);
  return schema;
}

/**
 * The value of a key in any spelling: the last one that is not null, `undefined` without one. Objects merge.
 * For the few keys that are read before there is a schema.
 */
export function findKey(object: JsonObject, key: string): Json | undefined {
  const wanted = key.toLowerCase();
  let found: Json | undefined;
  for (const [spelling, value] of Object.entries(object)) {
    if (value === null || spelling.toLowerCase() !== wanted) continue;
    found = isObject(found) && isObject(value) ? merge(found, value) : value;
  }
  return found;
}

/** What comes later comes last, whichever way it is spelled. */
function merge(earlier: JsonObject, later: JsonObject): JsonObject {
  const said = Object.entries(later).filter(([, value]) => value !== null);
  const names = new Set(said.map(([key]) => key));
  const kept = Object.entries(earlier).filter(([key]) => !names.has(key));
  return Object.fromEntries([...kept, ...said]);
}

/** What a schema says of keys, apart from its types. */
interface Level {
  /** Of an object: lower-case key → the schema's spelling and what lies below. */
  readonly keys?: ReadonlyMap<string, {readonly key: string; readonly level: Level}>;
  /** Whether keys that the schema does not name are part of the value. */
  readonly isOpen?: boolean;
  /** Of the elements of a list or the values of a record. */
  readonly below?: Level;
}

const levels = new WeakMap<$ZodType, Level>();
const leaf: Level = {};

function levelOf(schema: $ZodType): Level {
  let level = levels.get(schema);
  if (!level) levels.set(schema, (level = makeLevel(schema)));
  return level;
}

function makeLevel(schema: $ZodType): Level {
  // The internals of zod's schemas are public in zod/v4/core, but typed per kind.
  const def = schema._zod.def as {type: string} & Record<string, unknown>;
  const inner = (key: string) => levelOf(def[key] as $ZodType);
  if (def.type === 'object') {
    const shape = def['shape'] as Record<string, $ZodType>;
    const keys = Object.entries(shape).map(
      ([key, type]) => [key.toLowerCase(), {key, level: levelOf(type)}] as const,
    );
    return {keys: new Map(keys), isOpen: def['catchall'] !== undefined};
  }
  if (def.type === 'array') return {below: inner('element')};
  if (def.type === 'record') return {below: inner('valueType')};
  if (def.type === 'pipe') return inner('in');
  return 'innerType' in def ? inner('innerType') : leaf;
}

function spell(
  value: Json,
  level: Level,
  path: string,
  onUnknownKey: OnUnknownKey | undefined,
  earlier: Json | undefined,
): Json {
  if (value === null || typeof value !== 'object' || level === leaf) return value;
  if (Array.isArray(value)) {
    const {below} = level;
    if (!below) return value;
    return value.map((element, i) => spell(element as Json, below, `${path}[${i}]`, onUnknownKey, undefined));
  }
  const spelled: Record<string, Json> = isObject(earlier) ? {...earlier} : {};
  for (const [key, member] of Object.entries(value as JsonObject)) {
    const known = level.keys?.get(key.toLowerCase());
    const name = known?.key ?? key;
    // As a name it would set the prototype; no configuration has a use for it.
    if (name === '__proto__') continue;
    const here = path === '' ? name : `${path}.${name}`;
    if (known) {
      if (member !== null) spelled[name] = spell(member, known.level, here, onUnknownKey, spelled[name]);
    } else if (!level.keys) {
      spelled[name] = level.below ? spell(member, level.below, here, onUnknownKey, spelled[name]) : member;
    } else if (level.isOpen) {
      spelled[name] = member;
    } else {
      onUnknownKey?.(here, key, knownKeys(level));
    }
  }
  return spelled;
}

function* knownKeys(level: Level): Iterable<string> {
  for (const {key} of level.keys?.values() ?? []) yield key;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  record: 'an object',
};

function shapeError(issue: $ZodRawIssue): ShapeError {
  const path = formatPath(issue.path ?? []);
  const message = issue.message ?? '';
  if (issue.code === 'custom') return new ShapeError(path, message, {isOwnSentence: true});
  const expected = expectation(issue) ?? message;
  const found = issue.input === undefined ? 'found nothing' : `found ${formatValue(issue.input)}`;
  return new ShapeError(path, `expected ${expected}, ${found}`, {isOwnSentence: false});
}

function expectation(issue: $ZodRawIssue): string | undefined {
  const {expected, values, minimum, maximum} = issue as Record<string, unknown>;
  if (issue.code === 'invalid_type') return typeNames[String(expected)] ?? String(expected);
  if (issue.code === 'invalid_value') {
    return `one of ${(values as readonly unknown[]).map((value) => JSON.stringify(value)).join(', ')}`;
  }
  if (issue.code === 'too_small') return `at least ${String(minimum)}`;
  if (issue.code === 'too_big') return `at most ${String(maximum)}`;
  return undefined;
}

function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((part, i) => (typeof part === 'number' ? `[${part}]` : `${i === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

/** As JSON, cut where it gets long: a configuration may hold anything. */
function formatValue(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
