import {measureAll} from './measure.ts';
import {binDir} from './paths.ts';
import {listPlugins} from './plugins.ts';

// A process of its own: starting others from the build's, which is large by then, takes several milliseconds more.
for (const {folder} of listPlugins().slice(0, 1)) {
  const version = {command: `${binDir}/${folder}`, env: {CNI_COMMAND: 'VERSION'}};
  const [times] = measureAll({version}, {runs: 21});
  console.log(`start-up: ${times?.median.toFixed(1)} ms (${folder} VERSION, whole process, median)`);
}
