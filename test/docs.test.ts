import {existsSync, globSync, readFileSync} from 'node:fs';
import path from 'node:path';
import test from 'ava';

const root = path.resolve(import.meta.dirname, '..');
const pages = globSync('{*.md,docs/*.md,conf/*.md,plugins/*/README.md}', {cwd: root});
const read = (page: string) => readFileSync(path.join(root, page), 'utf8');

test('links lead somewhere', (t) => {
  const links = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, to]) => ({page, to: to!})),
  );
  t.true(links.length > 20);
  const broken = links.filter(({page, to}) => !existsSync(path.join(root, path.dirname(page), to)));
  t.deepEqual(broken, []);
});

test('tests that a page names exist', (t) => {
  const named = pages.flatMap((page) =>
    [...read(page).matchAll(/`([\w./*-]+\.test\.ts)`/g)].map(([, name]) => name!),
  );
  t.true(named.length > 20);
  // Behind the first of several the folder is left out.
  const missing = named.filter(
    (name) => globSync([name, `{test,integration}/**/${name}`], {cwd: root}).length === 0,
  );
  t.deepEqual(missing, []);
});

test('commands of npm that a page names exist', (t) => {
  const {scripts} = JSON.parse(read('package.json')) as {scripts: Record<string, string>};
  const named = pages.flatMap((page) =>
    [...read(page).matchAll(/npm run ([\w:-]+)/g)].map(([, name]) => name!),
  );
  t.deepEqual(
    named.filter((name) => !(name in scripts)),
    [],
  );
});
