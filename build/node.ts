import {createHash} from 'node:crypto';
import {readFileSync} from 'node:fs';

import {root} from './paths.ts';

/** SHA-256 of `bin/node` in the npm packages node-linux-<arch> of the pinned version. */
const pinned: Readonly<Record<string, {readonly version: string; readonly sha256: string}>> = {
  x64: {version: 'v24.21.0', sha256: '7fde7b8afa198da66257f42ee2001d874c7355631e6d1579a5fb5ef1f246df4c'},
  arm64: {version: 'v24.21.0', sha256: '0f8949d1028f6d61506b2d5bc57e7e6fe893d7b1997509b7847294fc9c616584'},
};

/**
 * Path of the Node executable that weft is made from, after checking that it is the pinned one to
 * the byte: it ends up running as root on every node.
 */
export function getPinnedNode(): string {
  const path = `${root}/node_modules/node/bin/node`;
  const expected = pinned[process.arch];
  if (expected === undefined) {
    throw new Error(`no Node is pinned for ${process.arch}: add its version and SHA-256 to build/node.ts`);
  }
  if (process.version !== expected.version) {
    throw new Error(
      `the build runs on Node ${process.version}, but ${expected.version} is pinned: run \`npm run build\``,
    );
  }
  const sha256 = createHash('sha256').update(readFileSync(path)).digest('hex');
  if (sha256 !== expected.sha256) {
    throw new Error(
      `${path} has SHA-256 ${sha256}, but ${expected.sha256} is pinned: reinstall it with \`npm ci\``,
    );
  }
  return path;
}
