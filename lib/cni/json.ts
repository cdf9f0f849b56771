import type {Json} from './types.ts';

/**
 * JSON as the reference prints it: four spaces, no newline at the end, and the characters that
 * matter to HTML escaped inside strings.
 */
export function formatJson(value: unknown): string {
  const text = JSON.stringify(value, undefined, 4);
  return text.replaceAll(/[<>&\u2028\u2029]/g, (char) => {
    return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** The same value with the keys of every object in alphabetical order, as Go prints its maps. */
export function sortKeys(value: Json): Json {
  if (Array.isArray(value)) return value.map((element) => sortKeys(element as Json));
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sortKeys(member)]));
}
