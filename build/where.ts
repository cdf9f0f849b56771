import {readFileSync} from 'node:fs';
import {SourceMap, type SourceMapPayload} from 'node:module';
import {relative} from 'node:path';

import {mapFile, root} from './paths.ts';

/*
 * Says where the lines of a stack come from that a log shows: `node build/where.ts weft.cjs:34:1416 …`, or with the log on
 * stdin. Of the executable of the last build.
 */

const map = new SourceMap(JSON.parse(readFileSync(mapFile, 'utf8')) as SourceMapPayload);
const args = process.argv.slice(2);
const text = args.length > 0 ? args.join('\n') : readFileSync(0, 'utf8');
console.log(
  text.trimEnd().replaceAll(/\(?[^\s(]*weft\.cjs:(\d+):(\d+)\)?/g, (found, line, column) => {
    const entry = map.findEntry(Number(line) - 1, Number(column) - 1);
    if (!('originalSource' in entry)) return found;
    const file = relative(root, new URL(entry.originalSource, `file://${root}/`).pathname);
    return `${file}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
  }),
);
