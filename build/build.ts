import {execFileSync} from 'node:child_process';
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';

import {addonNames, putAddons} from './addons.ts';
import {bundle} from './bundle.ts';
import {compileClient} from './client.ts';
import {fillRooms, makeRoom} from './code-cache.ts';
import {makeImage, prepareNode} from './image.ts';
import {libraryNames, putLibraries} from './libraries.ts';
import {getPinnedNode} from './node.ts';
import {binDir, mapFile, root, workDir} from './paths.ts';
import {listPlugins} from './plugins.ts';

/** Leaves dist/bin as docs/install.md describes it and prints what it made. */
export async function build(): Promise<void> {
  try {
    await buildAll();
  } finally {
    rmSync(workDir, {recursive: true, force: true});
  }
}

async function buildAll(): Promise<void> {
  const started = performance.now();
  const {version} = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as {version: string};
  const node = prepareNode(getPinnedNode());
  const bundles = await bundle(version);

  mkdirSync(workDir, {recursive: true});
  mkdirSync(binDir, {recursive: true});
  const names = Object.keys(bundles.loaded);
  for (const [name, text] of Object.entries(bundles.loaded)) {
    writeFileSync(`${workDir}/${name}.cjs`, text);
    writeFileSync(`${workDir}/${name}.cache`, makeRoom(name, text));
  }
  const client = `${workDir}/weft-client`;
  const obstacle = compileClient({output: client});
  if (obstacle !== undefined)
    console.warn(`note: without the native client, \`weft install --client\` will not work: ${obstacle}`);
  const executable = `${workDir}/weft`;
  await makeImage({
    name: 'weft',
    main: bundles.main,
    node,
    output: executable,
    assets: {
      ...Object.fromEntries(
        names.flatMap((name) => [`${name}.cjs`, `${name}.cache`]).map((file) => [file, `${workDir}/${file}`]),
      ),
      ...(obstacle === undefined && {'weft-client': client}),
      ...Object.fromEntries(listConfs().map((name) => [`conf/${name}`, `${root}/conf/${name}`])),
    },
  });
  fillRooms(executable, names);
  await putLibraries(binDir);
  putAddons(binDir);
  // In one step: a plugin that runs at this moment goes on with the old file.
  renameSync(executable, `${binDir}/weft`);
  writeFileSync(mapFile, bundles.map);
  putLinks(['cnitool', ...listPlugins().flatMap(({names}) => names)]);

  const size = (statSync(`${binDir}/weft`).size / 1e6).toFixed(1);
  console.log(
    `dist/bin/weft ${version}: ${size} MB, made in ${((performance.now() - started) / 1000).toFixed(1)} s`,
  );
  console.log(`bundle ${bundles.hash}`);
  execFileSync(process.execPath, [`${root}/build/print-startup.ts`], {stdio: 'inherit'});
}

/** The ready configurations that `weft install --conf` puts. */
function listConfs(): readonly string[] {
  return readdirSync(`${root}/conf`)
    .filter((name) => name.endsWith('.conflist'))
    .sort();
}

/** Relative links, so that dist/bin can be moved and mounted anywhere; those of removed plugins go. */
function putLinks(names: readonly string[]): void {
  const links = new Set(names);
  const keep = new Set<string>(['weft', ...libraryNames, ...addonNames, ...links]);
  for (const name of readdirSync(binDir)) {
    if (!keep.has(name)) rmSync(`${binDir}/${name}`);
    else if (lstatSync(`${binDir}/${name}`).isSymbolicLink()) links.delete(name);
  }
  for (const name of links) symlinkSync('weft', `${binDir}/${name}`);
}
