import {readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';
import {defaultServiceRanges} from '../../../agent/catalog/ranges.ts';
import {parseConfig} from '../../../agent/config.ts';

test('conf/Corefile looks where the agent writes by default', (t) => {
  const text = readFileSync(path.join(import.meta.dirname, '../../../conf/Corefile'), 'utf8');
  const {sharing} = parseConfig('{"sharing": {"endpoints": ["http://127.0.0.1:2379"]}}');
  t.is(/^\s+path (\S+)$/m.exec(text)?.[1], sharing!.skydnsPath);
  t.is(/^\s+endpoint (\S+)$/m.exec(text)?.[1], sharing!.endpoints[0]);
  t.true(text.includes(`\nweft.internal ${defaultServiceRanges[0]} `));
});
