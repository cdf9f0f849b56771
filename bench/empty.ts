import {mkdirSync, rmSync} from 'node:fs';
import {makeImage, prepareNode} from '../build/image.ts';
import {putLibraries} from '../build/libraries.ts';
import {getPinnedNode} from '../build/node.ts';
import {root, workDir} from '../build/paths.ts';

/* Makes dist/bench/empty: what every executable made of Node in our way costs, with nothing in it. */
const folder = `${root}/dist/bench`;
mkdirSync(folder, {recursive: true});
await putLibraries(folder);
await makeImage({
  name: 'empty',
  main: `require('node:v8').startupSnapshot.setDeserializeMainFunction(() => process.exit(0));`,
  assets: {},
  node: prepareNode(getPinnedNode()),
  output: `${folder}/empty`,
});
rmSync(workDir, {recursive: true, force: true});
