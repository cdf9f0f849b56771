import {readFile, writeFile} from 'node:fs/promises';
import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

/** Versions of the specification, and whether Debian's reference plugins (1.1.1) speak them. */
const versions = [
  {cniVersion: '0.1.0', reference: true, check: false},
  {cniVersion: '0.2.0', reference: true, check: false},
  {cniVersion: '0.3.0', reference: true, check: false},
  {cniVersion: '0.3.1', reference: true, check: false},
  {cniVersion: '0.4.0', reference: true, check: true},
  {cniVersion: '1.0.0', reference: true, check: true},
  {cniVersion: '1.1.0', reference: false, check: true},
];

const goldenFile = (cniVersion: string) =>
  path.join(import.meta.dirname, 'golden', `bridge-${cniVersion}.txt`);

/** ADD, CHECK where the version has it, DEL; returns the result as printed, random names and MACs replaced. */
async function runLife(
  t: ExecutionContext,
  {cniVersion, dir, check}: {cniVersion: string; dir: string; check: boolean},
): Promise<string> {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const conf = {
    ...bridgeNetwork({name: 'golden', cniVersion}),
    dns: {nameservers: ['10.61.0.1'], domain: 'weft.test', search: ['a.weft.test'], options: ['ndots:2']},
  };
  const call = {conf, dir, netns, containerId: 'golden-1'};
  const added = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(added.code, 0, added.stdout + added.stderr);
  const checked = await tryPlugin(host, {...call, command: 'CHECK', prevResult: added.reply});
  t.is(checked.code, check ? 0 : 1);
  if (!check) t.is(checked.reply?.msg, 'config version does not allow CHECK');
  await callPlugin(host, {...call, command: 'DEL', ...(check ? {prevResult: added.reply} : {})});
  await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/run\/xtables.lock$/]);
  return added.stdout
    .replaceAll(/"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}"/g, '"<mac>"')
    .replaceAll(/"veth[0-9a-f]{8}"/g, '"<veth>"');
}

test.before(async () => {
  await ensurePackages('reference');
});

for (const {cniVersion, reference, check} of versions) {
  if (reference)
    test(`${cniVersion}: the golden result of ADD is the reference's own`, async (t) => {
      const result = await runLife(t, {cniVersion, check, dir: referenceDir()});
      if (process.env['WEFT_UPDATE_GOLDEN'] !== undefined) await writeFile(goldenFile(cniVersion), result);
      const golden = await readFile(goldenFile(cniVersion), 'utf8');
      // The order of keys in results of 1.x changed in a later release of the reference.
      if (cniVersion.startsWith('0.')) t.is(result, golden);
      else t.deepEqual(JSON.parse(result), JSON.parse(golden));
    });

  test(`${cniVersion}: ADD prints the golden result, CHECK and DEL follow`, async (t) => {
    const result = await runLife(t, {cniVersion, check, dir: pluginDir});
    t.is(result, await readFile(goldenFile(cniVersion), 'utf8'));
  });
}
