import {CniError, errorCodes} from './error.ts';

/**
 * Reads CNI_ARGS ("K=V;K2=V2") for the keys a plugin knows; their case counts. An unknown key is an
 * error unless the text also says `IgnoreUnknown=1`, which the container runtimes always send; but
 * every plugin of a chain gets the same text, so users hit this with arguments meant for another.
 * Of a repeated key the last one counts. Throws CniError 4 with the reference's sentences.
 */
export function parseArgs<K extends string>(
  text: string,
  keys: readonly K[],
): {readonly [key in K]?: string} {
  const values: {[key in K]?: string} = {};
  if (text === '') return values;
  const unknown: string[] = [];
  let ignoresUnknown = false;
  for (const pair of text.split(';')) {
    const [key, value, ...rest] = pair.split('=');
    if (key === undefined || value === undefined || rest.length > 0) {
      throw refuse(`ARGS: invalid pair ${JSON.stringify(pair)}`, 'CNI_ARGS is "KEY=value;KEY2=value2"');
    }
    if (key === 'IgnoreUnknown') ignoresUnknown = parseFlag(pair, value);
    else if (isKey(keys, key)) values[key] = value;
    else unknown.push(pair);
  }
  if (unknown.length > 0 && !ignoresUnknown) {
    const list = unknown.map((pair) => JSON.stringify(pair)).join(' ');
    throw refuse(
      `ARGS: unknown args [${list}]`,
      `known are ${[...keys, 'IgnoreUnknown'].join(', ')}; add IgnoreUnknown=1 to CNI_ARGS to pass others`,
    );
  }
  return values;
}

function isKey<K extends string>(keys: readonly K[], key: string): key is K {
  return (keys as readonly string[]).includes(key);
}

function parseFlag(pair: string, value: string): boolean {
  const text = value.toLowerCase();
  if (text === '1' || text === 'true') return true;
  if (text === '0' || text === 'false') return false;
  throw refuse(
    `ARGS: error parsing value of pair ${JSON.stringify(pair)}: boolean unmarshal error: invalid input ${text}`,
    '',
  );
}

function refuse(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidEnvironment, msg, details);
}
