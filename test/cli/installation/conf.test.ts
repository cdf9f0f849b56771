import {readdirSync, readFileSync} from 'node:fs';
import {basename} from 'node:path';
import test from 'ava';
import {getConf} from '../../../cli/installation/conf.ts';

const folder = new URL('../../../conf/', import.meta.url);
const assets = {
  list: () => ['koffi.node', ...readdirSync(folder).map((name) => `conf/${name}`)],
  read: (key: string) => readFileSync(new URL(`../${key}`, folder), 'utf8'),
};

test('each ready configuration gets the file name that conf/README.md gives it', (t) => {
  const readme = assets.read('conf/README.md');
  const conflists = readdirSync(folder).filter((name) => name.endsWith('.conflist'));
  t.true(conflists.length > 0);
  for (const file of conflists) {
    const {path, content} = getConf(basename(file, '.conflist'), {confDir: '/etc/cni/net.d', assets});
    const row = readme.split('\n').find((line) => line.startsWith(`| \`${file}\``));
    t.true(row?.includes(`\`${path}\``), `${file}: ${path} is not in ${row}`);
    t.notThrows(() => JSON.parse(content) as unknown);
  }
});

test('another name is refused with those there are', (t) => {
  t.throws(() => getConf('nonsense', {confDir: '/x', assets}), {message: /--conf takes .*podman/});
});
