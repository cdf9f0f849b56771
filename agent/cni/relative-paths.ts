import type {Json, JsonObject} from '../../lib/cni/types.ts';

/** The keys of configurations whose value is a path, in lower case. test/agent/cni/relative-paths.test.ts finds those that are missing. */
export const pathKeys: ReadonlySet<string> = new Set([
  'agentsocket',
  'datadir',
  'indexdir',
  'logfile',
  'resolvconf',
  'rundir',
  'statedir',
  'subnetfile',
]);

/** Whether a call names a file by a path that depends on the folder its process is in. */
export function hasRelativePath(env: Readonly<Record<string, string>>, stdin: string): boolean {
  const paths = [env['CNI_NETNS'] ?? '', ...(env['CNI_PATH'] ?? '').split(':')];
  if (paths.some(isRelative)) return true;
  try {
    return holdsRelativePath(JSON.parse(stdin) as Json);
  } catch {
    // No configuration at all: an error that names no file.
    return false;
  }
}

function holdsRelativePath(value: Json): boolean {
  if (value === null || typeof value !== 'object') return false;
  if (Array.isArray(value)) return value.some((each) => holdsRelativePath(each as Json));
  return Object.entries(value as JsonObject).some(([key, member]) =>
    typeof member === 'string'
      ? pathKeys.has(key.toLowerCase()) && isRelative(member)
      : holdsRelativePath(member),
  );
}

function isRelative(path: string): boolean {
  return path !== '' && !path.startsWith('/');
}
