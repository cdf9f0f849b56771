// Builds dist/bin/weft and its links. This file is plain JavaScript that an old Node can read: it only
// looks whether what the build needs is there, says so in a sentence if not, and hands over to build/.
import {spawnSync} from 'node:child_process';
import {existsSync, readFileSync} from 'node:fs';
import {fileURLToPath} from 'node:url';

const root = fileURLToPath(new URL('.', import.meta.url));
const pinned = JSON.parse(readFileSync(root + 'package.json', 'utf8')).devDependencies.node;
const node = root + 'node_modules/node/bin/node';

function fail(message) {
  console.error('build: ' + message);
  process.exit(1);
}

if (process.platform !== 'linux') fail('weft is built on Linux, and this is ' + process.platform + '.');
for (const name of ['node', 'esbuild', 'postject', 'koffi', 'netlink']) {
  if (!existsSync(root + 'node_modules/' + name + '/package.json')) {
    fail('node_modules/' + name + ' is missing: run `npm ci` in ' + root + ' first.');
  }
}
if (!existsSync(node)) {
  fail('node_modules/node/bin/node is missing: run `npm rebuild node` (its install script puts it there).');
}

if (process.version === 'v' + pinned) {
  import('./build/build.ts').then(({build}) => build()).catch((error) => fail(error.message.split('\n')[0]));
} else {
  // An older (or newer) Node ran us: the pinned one does the work.
  const child = spawnSync(node, [fileURLToPath(import.meta.url)], {stdio: 'inherit', cwd: root});
  if (child.error) fail('cannot run ' + node + ': ' + child.error.message + '.');
  process.exit(child.status === null ? 1 : child.status);
}
