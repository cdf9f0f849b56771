import {measureAll} from './measure.ts';
import {binDir} from './paths.ts';
import {listPlugins} from './plugins.ts';
import {isSeldom} from './seldom-plugins.ts';

// A process of its own: starting others from the build's, which is large by then, takes several milliseconds more.
const [folder] = listPlugins()
  .map((each) => each.folder)
  .filter((each) => !isSeldom(each));
if (folder !== undefined) {
  const version = {command: `${binDir}/${folder}`, env: {CNI_COMMAND: 'VERSION'}};
  const [times] = measureAll({version}, {runs: 21});
  console.log(`start-up: ${times?.median.toFixed(1)} ms (${folder} VERSION, whole process, median)`);
}
