import {readFileSync} from 'node:fs';
import test from 'ava';
import {parseFirewallConf} from '../../../plugins/firewall/conf.ts';
import {exampleOf, readmeOf} from '../../helpers/readme.ts';
import {callFor} from '../../lib/cni/helpers.ts';

interface List {
  readonly plugins: readonly Record<string, unknown>[];
}

test('the page shows conf/firewall.conflist, and it is a configuration', async (t) => {
  const list = exampleOf('firewall') as unknown as List;
  const file = readFileSync(new URL('../../../conf/firewall.conflist', import.meta.url), 'utf8');
  t.deepEqual(list, JSON.parse(file) as List);
  const conf = parseFirewallConf(await callFor({cniVersion: '1.0.0', ...list.plugins[1]}));
  t.is(conf.policy, 'same-bridge');
});

test('the page names every key', (t) => {
  const source = readFileSync(new URL('../../../plugins/firewall/conf.ts', import.meta.url), 'utf8');
  const keys = [...source.matchAll(/^ {4}(\w+): (?:text|z\.optional)/gm)].map((match) => match[1]!);
  t.is(keys.length, 5);
  t.deepEqual(
    keys.filter((key) => !readmeOf('firewall').includes(`| \`${key}\``)),
    [],
  );
});
