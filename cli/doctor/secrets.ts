import {readFileSync, statSync} from 'node:fs';
import {about, type Finding} from './finding.ts';

/** Keys of the agent's configuration that name files with something to keep to oneself. */
const secretKeys: ReadonlySet<string> = new Set(['passwordFile', 'keyFile', 'kubeconfig']);

/** Whether others may read the secrets that the agent's configuration names. A configuration that is none says nothing. */
export function checkSecrets(agentConf: string): readonly Finding[] {
  const {warning} = about('secrets');
  return [...new Set(findFiles(readConf(agentConf)))].flatMap((file) => {
    const mode = statSync(file, {throwIfNoEntry: false})?.mode ?? 0;
    if ((mode & 0o077) === 0) return [];
    const text = (mode & 0o777).toString(8);
    return [
      warning(`${file} may be read or written by others than root (mode ${text})`, `chmod 600 ${file}`),
    ];
  });
}

function readConf(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

function findFiles(value: unknown, key = ''): string[] {
  if (typeof value === 'string') return secretKeys.has(key) && value.startsWith('/') ? [value] : [];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) =>
    // Of a list of secrets each is a file of its own.
    name === 'secrets' && Array.isArray(each)
      ? each.flatMap((one: {file?: unknown}) => findFiles(one.file, 'keyFile'))
      : findFiles(each, name),
  );
}
