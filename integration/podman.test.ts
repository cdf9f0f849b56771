import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir, repository} from './harness/paths.ts';
import {setUpPodman} from './harness/podman.ts';
import {podmansOwn} from './harness/podman-chain.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('podman');
});

test('two containers of podman fetch from each other and from the host, and podman rm leaves nothing', async (t) => {
  const host = await makeHost(t);
  const podman = await setUpPodman(host, [pluginDir]);
  await host.write(
    '/etc/cni/net.d/87-weft-podman.conflist',
    await readFile(path.join(repository, 'conf/podman.conflist'), 'utf8'),
  );
  const before = await takeSnapshot(host);
  const serve = ['busybox', '/bin/httpd', '-f', '-h', '/www'];
  for (const name of ['one', 'two'])
    await podman.run(['run', '-d', '--name', name, ...podman.limits, '--network', 'weft-podman', ...serve]);
  const addresses = await Promise.all(
    ['one', 'two'].map(async (name) => {
      const {stdout} = await podman.run([
        'inspect',
        name,
        '--format',
        '{{(index .NetworkSettings.Networks "weft-podman").IPAddress}}',
      ]);
      return stdout.trim();
    }),
  );
  t.regex(addresses.join(' '), /^10\.89\.0\.\d+ 10\.89\.0\.\d+$/);
  t.not(addresses[0], addresses[1]);
  const page = 'a page of weft\n';
  const fetch = (address: string) => ['wget', '-qO-', `http://${address}/`];
  const fromTwo = await podman.run(['exec', 'two', ...fetch(addresses[0]!)]);
  const fromOne = await podman.run(['exec', 'one', ...fetch(addresses[1]!)]);
  const fromHost = await host.run(['busybox', ...fetch(addresses[0]!)]);
  t.deepEqual([fromTwo.stdout, fromOne.stdout, fromHost.stdout], [page, page, page]);
  await podman.run(['rm', '--force', '--time', '0', 'one', 'two']);
  await assertNothingLeft(t, host, before, [...staysByDesign, ...podmansOwn]);
});
