import {readFileSync} from 'node:fs';
import {writeAtomically} from './files.ts';
import type {Layout} from './layout.ts';

/** What one installation put into place. */
export interface Installed {
  readonly version: string;
  readonly id: string;
  /** Names in the plugin folder. */
  readonly names: readonly string[];
  /** Present where the plugins' files are native clients: the agent's socket, as they know it. Else they are stubs. */
  readonly client?: {readonly socket: string} | undefined;
  /** Network configurations: path, and the hash of what was written there. */
  readonly confs: readonly {readonly path: string; readonly sha256: string}[];
}

/** What was installed before; undefined when nothing was. */
export function findInstalled({state}: Pick<Layout, 'state'>): Installed | undefined {
  let text: string;
  try {
    text = readFileSync(state, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return JSON.parse(text) as Installed;
  } catch (cause) {
    throw new Error(`${state} is damaged: remove it and run \`weft install\` again`, {cause});
  }
}

export function putInstalled({state}: Pick<Layout, 'state'>, installed: Installed): void {
  writeAtomically(state, `${JSON.stringify(installed, null, 2)}\n`, {mode: 0o644});
}

/** What kind of files stand under the plugins' names, for people. */
export function describeKind({client}: Pick<Installed, 'client'>): string {
  return client === undefined ? 'stubs' : `native clients of the agent at ${client.socket}`;
}
