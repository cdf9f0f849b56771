import {startupSnapshot} from 'node:v8';

/**
 * Drops every NODE_* variable before anything can act on it. Node looks at some of them (NODE_CHANNEL_FD ends the process
 * if it is no number) before it calls our main function; so `process.env` itself, which is in the snapshot, does it
 * when it is first touched. Children, which may be ourselves, get none of them either.
 */
export function dropNodeVariables(): void {
  const env = process.env;
  Object.defineProperty(process, 'env', {
    configurable: true,
    enumerable: true,
    get() {
      if (startupSnapshot.isBuildingSnapshot()) return env;
      for (const name of Object.keys(env)) if (name.startsWith('NODE_')) delete env[name];
      Object.defineProperty(process, 'env', {
        value: env,
        configurable: true,
        enumerable: true,
        writable: true,
      });
      return env;
    },
  });
}
