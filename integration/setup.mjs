// Makes a fresh clone ready: dependencies, then the executables. Runs before `npm test` and `npm run demo`, on
// whatever Node started npm, so this file uses nothing newer than Node 18.
import {spawnSync} from 'node:child_process';
import {readFileSync} from 'node:fs';

process.chdir(new URL('..', import.meta.url).pathname);

/** Versions by place in node_modules, as a lock file lists them; packages of other platforms left out. */
function lockedVersions(file) {
  const versions = new Map();
  for (const [place, {version, optional}] of Object.entries(JSON.parse(readFileSync(file, 'utf8')).packages))
    if (place.startsWith('node_modules/') && optional !== true) versions.set(place, version);
  return versions;
}

function isInstalled() {
  try {
    const installed = lockedVersions('node_modules/.package-lock.json');
    const wanted = lockedVersions('package-lock.json');
    return [...wanted].every(([place, version]) => installed.get(place) === version);
  } catch {
    return false;
  }
}

function run(...argv) {
  console.log(`> ${argv.join(' ')}`);
  // Of a shell's own: the Node that the first command installs is the one the next finds.
  const {status} = spawnSync(argv[0], argv.slice(1), {stdio: 'inherit'});
  if (status !== 0) process.exit(status === null ? 1 : status);
}

if (!isInstalled()) run('npm', 'ci', '--no-audit', '--no-fund');
if (process.env.WEFT_SKIP_BUILD === undefined) run('npm', 'run', '--silent', 'build');
