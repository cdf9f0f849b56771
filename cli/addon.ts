import {dirname, join} from 'node:path';
import {startupSnapshot} from 'node:v8';

/** Addons of this process, by file name. The agent's bundle has this module a second time, and the same addons. */
const registry = Symbol.for('weft.addons');
const shared = globalThis as {[registry]?: Map<string, object>};

/**
 * The exports of a native addon beside the executable; it is loaded when the first of them is touched, so that a call that
 * needs none of it (VERSION) does not pay for it.
 */
export function lazyAddon(file: string): object {
  return new Proxy(
    {},
    {get: (_, key) => (key === '__esModule' ? undefined : Reflect.get(getAddon(file), key))},
  );
}

function getAddon(file: string): object {
  // Made after start-up only: a snapshot cannot hold an addon.
  const known = shared[registry]?.get(file);
  if (known !== undefined) return known;
  if (startupSnapshot.isBuildingSnapshot()) {
    throw new Error(`${file} was used while the start-up snapshot was made: use it inside functions only`);
  }
  const module = {exports: {}};
  try {
    process.dlopen(module, join(dirname(process.execPath), file));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(
      `weft cannot load its native part ${file}: ${reason}; it has to be in the same folder as the program, as the build put it`,
    );
  }
  (shared[registry] ??= new Map()).set(file, module.exports);
  return module.exports;
}
