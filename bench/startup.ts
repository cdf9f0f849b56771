import {execFileSync} from 'node:child_process';
import {existsSync, writeFileSync} from 'node:fs';
import {measureAll} from '../build/measure.ts';
import {binDir, root} from '../build/paths.ts';
import {formatStub} from '../cli/stub.ts';

/*
 * What a plugin call costs before the plugin does anything: a whole process that answers VERSION, next to an
 * executable made in the same way with nothing in it. `npm run build` first.
 */

/** What the project promises: `bridge` VERSION against the empty executable. */
const promise = 1.35;
const runs = Number(process.env['RUNS'] ?? 61);
const plugin = ['bridge', 'loopback'].find((name) => existsSync(`${binDir}/${name}`));
if (plugin === undefined) throw new Error('dist/bin has no plugins: run `npm run build` first');

const folder = `${root}/dist/bench`;
// In a process of its own, so that this one stays small: the larger a process, the longer it takes to start another.
execFileSync(process.execPath, [`${root}/bench/empty.ts`], {stdio: 'inherit'});
writeFileSync(`${folder}/${plugin}`, formatStub({program: `${binDir}/weft`, trailer: ''}), {mode: 0o755});
writeFileSync(`${folder}/plain.cjs`, 'process.exit(0);');

const env = {CNI_COMMAND: 'VERSION'};
const rows = measureAll(
  {
    'an empty snapshot executable': {command: `${folder}/empty`},
    [`${plugin} VERSION`]: {command: `${binDir}/${plugin}`, env},
    [`${plugin} VERSION through a stub`]: {command: `${folder}/${plugin}`, env},
    'weft version': {command: `${binDir}/weft`, args: ['version']},
    'node with an empty script': {command: process.execPath, args: [`${folder}/plain.cjs`]},
    true: {command: '/bin/true'},
  },
  {runs},
);

const [empty, version] = rows;
console.log(`${runs} runs each, in turns; milliseconds`);
console.log(`${'minimum'.padStart(44)}${'median'.padStart(10)}${'to empty'.padStart(12)}`);
for (const {name, minimum, median} of rows) {
  const ratio = (median / empty!.median).toFixed(2);
  console.log(
    `${name.padEnd(36)}${minimum.toFixed(1).padStart(8)}${median.toFixed(1).padStart(10)}${ratio.padStart(12)}`,
  );
}
const ratio = version!.median / empty!.median;
const verdict = ratio <= promise ? 'kept' : 'NOT kept';
console.log(
  `${plugin} VERSION is ${ratio.toFixed(2)} times the empty executable; promised is ${promise}: ${verdict}`,
);
process.exitCode = ratio <= promise ? 0 : 1;
