import type {$ZodType, output} from 'zod/v4/core';
import {CniError, errorCodes} from './error.ts';
import type {Call} from './plugin.ts';
import {readShape, ShapeError} from './shape.ts';
import type {OnUnknownKey} from './shape.ts';
import {findIntended} from './typo.ts';

/** What of a call is needed to read its configuration. */
export type ConfCall = Pick<Call, 'command' | 'conf' | 'name' | 'warn'>;

/**
 * Reads a call's configuration by a zod schema, with the reference's tolerance (keys in any case,
 * null as default, unknown keys ignored; see `readShape`). The schema should come from `zod/mini`,
 * which costs a third of what `zod` does at start-up, through `prepareShape`.
 *
 * A value of a wrong type is CniError 7 that names its path, what was expected and what was found.
 * An unknown key that looks like a typing error of a known one is a warning: on ADD and CHECK only,
 * since runtimes ask for STATUS every few seconds.
 */
export function parseConf<S extends $ZodType>(call: ConfCall, schema: S): output<S> {
  const warns = call.command === 'ADD' || call.command === 'CHECK';
  try {
    return readShape(schema, call.conf, warns ? typoWarning(call) : undefined);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    const {path, message, isOwnSentence} = error;
    if (!isOwnSentence) throw refuse(`${path || 'the configuration'}: ${message}`, '');
    throw refuse(message, path && `at ${path}`);
  }
}

function refuse(what: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, `failed to load netconf: ${what}`, details);
}

/** Keys with a meaning of their own for runtimes or other plugins, whatever a schema knows. */
const commonKeys: ReadonlySet<string> = new Set(
  `cniVersion cniVersions name type capabilities args runtimeConfig prevResult ipam dns plugins
    disableCheck disableGC loadOnlyInlinedPlugins logLevel logFile ips mac`
    .split(/\s+/)
    .map((key) => key.toLowerCase()),
);

function typoWarning(call: ConfCall): OnUnknownKey {
  return (path, key, known) => {
    if (key.includes('.') || commonKeys.has(key.toLowerCase())) return;
    const intended = findIntended(key, known);
    if (intended === undefined) return;
    call.warn(`network "${call.name}": unknown key "${path}" is ignored; did you mean "${intended}"?`);
  };
}
