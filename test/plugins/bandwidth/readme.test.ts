import {readFileSync} from 'node:fs';
import test from 'ava';
import {parseBandwidthConf} from '../../../plugins/bandwidth/conf.ts';
import {exampleOf, readmeOf} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

interface List {
  readonly plugins: readonly Record<string, unknown>[];
}

test('the page shows conf/bandwidth.conflist, and it is a configuration', async (t) => {
  const list = exampleOf('bandwidth') as unknown as List;
  const file = readFileSync(new URL('../../../conf/bandwidth.conflist', import.meta.url), 'utf8');
  t.deepEqual(list, JSON.parse(file) as List);
  const conf = parseBandwidthConf(await callFor({cniVersion: '1.0.0', ...list.plugins[1]}));
  t.is(conf.selection.kind, 'except');
  t.like(conf, {ingress: {rateBitsPerSecond: 100_000_000}, egress: {burstBits: 5_000_000}});
});

test('the page names every key', (t) => {
  const source = readFileSync(new URL('../../../plugins/bandwidth/conf.ts', import.meta.url), 'utf8');
  const keys = [...source.matchAll(/^ {2}(\w+): z\.optional/gm)].map((match) => match[1]!);
  t.is(keys.length, 6);
  t.deepEqual(
    keys.filter((key) => !readmeOf('bandwidth').includes(`| \`${key}\``)),
    [],
  );
});
