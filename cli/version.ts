import type {Command} from './command.ts';

/** `weft version` */
export const version: Command = {
  summary: 'print the version, the build and the plugins in it',
  usage: 'weft version',
  run({release, plugins, out}) {
    out(`weft ${release.version} (build ${release.id}, Node ${process.versions.node}, ${process.arch})`);
    out(`plugins: ${plugins.join(', ')}`);
    return Promise.resolve(0);
  },
};
