import {mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import path from 'node:path';
import {putAddons} from '../build/addons.ts';
import {bundleEntry} from '../build/bundle.ts';
import {makeImage, prepareNode} from '../build/image.ts';
import {putLibraries} from '../build/libraries.ts';
import {getPinnedNode} from '../build/node.ts';
import {root, workDir} from '../build/paths.ts';
import type {Conflist} from '../integration/harness/chain.ts';
import {ensurePackages} from '../integration/harness/debian.ts';
import {readDefaultConflist} from '../integration/harness/podman-chain.ts';
import {findCalledFunctions, type CalledFunction} from './called-functions.ts';
import {networks} from './networks.ts';
import {openSite} from './site.ts';

/*
 * Writes build/precompiled.json: which functions the usual plugins call, and are therefore compiled when weft is built. Run as
 * root, after larger changes of lib/ and plugins/; what the list lacks is compiled when it is called.
 */

const folder = `${root}/dist/bench/precompiled`;
const chained = ['bridge', 'host-local', 'portmap', 'firewall', 'tuning', 'loopback'];

await ensurePackages('tools');
await ensurePackages('podman');
const script = await makeLoggingPlugins();
const called = await callPlugins();
const names = new Map<string, Set<string>>();
for (const {file, name} of called) names.set(file, (names.get(file) ?? new Set()).add(name));
const list = [...names].sort(byName).map(([file, own]) => [file, [...own].sort()] as const);
writeFileSync(
  `${root}/build/precompiled.json`,
  `${JSON.stringify(Object.fromEntries(list), undefined, 2)}\n`,
);
console.log(`${called.length} functions of ${list.length} files`);

/** Plugins that write down each function they call. */
async function makeLoggingPlugins(): Promise<string> {
  rmSync(folder, {recursive: true, force: true});
  mkdirSync(folder, {recursive: true});
  const main = await bundleEntry({entry: 'cli/main.ts', version: '0', keepsLines: true});
  await putLibraries(folder);
  putAddons(folder);
  await makeImage({
    name: 'weft',
    main,
    node: prepareNode(getPinnedNode()),
    output: `${folder}/weft`,
    assets: {},
    flags: ['--log-function-events', '--logfile=/run/v8-%p.log', '--no-logfile-per-isolate'],
  });
  rmSync(workDir, {recursive: true, force: true});
  for (const name of chained) symlinkSync('weft', `${folder}/${name}`);
  return main;
}

async function callPlugins(): Promise<readonly CalledFunction[]> {
  const site = await openSite({kind: 'standalone', dir: folder, weft: `${folder}/weft`});
  try {
    await site.ask({kind: 'containers', from: 0, to: 1});
    const podman = JSON.parse(await readDefaultConflist()) as Conflist;
    const loopback = {cniVersion: '1.0.0', name: 'lo', plugins: [{type: 'loopback'}]};
    // Twice: what is there already takes other ways.
    for (const network of [podman, podman, networks.dual, networks.dual, networks.ports, loopback])
      for (const verb of ['ADD', 'CHECK', 'DEL'] as const)
        await site.ask({kind: 'chain', verb, network, container: 0});
    const logs = readdirSync(site.host.path('/run'))
      .filter((name) => name.startsWith('v8-'))
      .map((name) => readFileSync(path.join(site.host.path('/run'), name), 'utf8'));
    return findCalledFunctions(script, logs);
  } finally {
    await site.close();
  }
}

function byName([one]: readonly [string, unknown], [other]: readonly [string, unknown]): number {
  return one < other ? -1 : 1;
}
