import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {putAddons} from '../build/addons.ts';
import {bundleEntry} from '../build/bundle.ts';
import {makeImage, prepareNode} from '../build/image.ts';
import {getPinnedNode} from '../build/node.ts';
import {root, workDir} from '../build/paths.ts';
import {runCommand} from './harness/command.ts';

// All of lib/ and plugins/ is evaluated once, when the executable is built, and every process begins with a copy of that. What
// was random then would be the same in each of them. This executable has them in its snapshot as the real one has, and
// prints what should differ.
const entry = `
import {randomBytes, randomInt, randomUUID} from 'node:crypto';
import {startupSnapshot} from 'node:v8';
import {plugins} from 'weft:plugins';
import {processIo} from '${root}/lib/cni/stdio.ts';
import {randomMac} from '${root}/lib/ip/mac.ts';

startupSnapshot.setDeserializeMainFunction(() => {
  const five = (make) => Array.from({length: 5}, make);
  const values = {
    pid: [process.pid],
    uuids: five(() => randomUUID()),
    integers: five(() => randomInt(2 ** 47)),
    bytes: five(() => randomBytes(8).toString('hex')),
    numbers: five(() => Math.random()),
    macs: five(() => randomMac()),
    times: [process.hrtime.bigint().toString()],
  };
  processIo({}).stdout(JSON.stringify({plugins: [...plugins.keys()], values})).then(() => process.exit(0));
});
`;

interface Printed {
  readonly plugins: readonly string[];
  readonly values: Readonly<Record<string, readonly (string | number)[]>>;
}

test('two processes have no random value in common', async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-snapshot-'));
  t.teardown(() => {
    rmSync(folder, {recursive: true, force: true});
    rmSync(workDir, {recursive: true, force: true});
  });
  writeFileSync(path.join(folder, 'entry.ts'), entry);
  const output = path.join(folder, 'program');
  await makeImage({
    name: 'random',
    main: await bundleEntry({entry: path.join(folder, 'entry.ts'), version: '0'}),
    assets: {},
    node: prepareNode(getPinnedNode()),
    output,
  });
  // Random bytes come from the C library.
  putAddons(folder);
  const run = async () => JSON.parse((await runCommand([output], {env: {}})).stdout) as Printed;
  const [one, two] = [await run(), await run()];
  t.true(one.plugins.includes('bridge'));
  for (const [kind, values] of Object.entries(one.values)) {
    const all = [...values, ...(two.values[kind] ?? [])];
    t.is(all.length, 2 * values.length);
    t.is(new Set(all).size, all.length, `${kind}: ${all.join(' ')}`);
  }
});
