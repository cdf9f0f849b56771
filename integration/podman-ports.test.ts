import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir, repository} from './harness/paths.ts';
import {setUpPodman} from './harness/podman.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('podman');
});

test('podman run -p: reached from everywhere, kept by network reload, refused to a second container', async (t) => {
  const host = await makeHost(t);
  const outside = await addOutside(host);
  const podman = await setUpPodman(host, [pluginDir]);
  await host.write(
    '/etc/cni/net.d/20-ports.conflist',
    await readFile(path.join(repository, 'conf/ports.conflist'), 'utf8'),
  );
  const run = (name: string, ...more: string[]) =>
    podman.run(
      [
        'run',
        '-d',
        '--name',
        name,
        ...podman.limits,
        '--network',
        'weft-ports',
        ...more,
        'busybox',
        '/bin/httpd',
        '-f',
        '-h',
        '/www',
      ],
      {mayFail: true},
    );
  t.is((await run('web', '-p', '8080:80', '-p', '9000-9002:80-82/udp')).code, 0);
  const page = 'a page of weft\n';
  const worker = `${repository}/integration/harness/http.ts`;
  const fetch = (address: string) => [
    process.execPath,
    '--no-warnings',
    worker,
    'get',
    `http://${address}:8080/`,
  ];
  const everywhere = async () => {
    const [v4, v6] = outside.hostAddresses;
    const commands = [
      host.inNetns('outside', fetch(v4)),
      host.inNetns('outside', fetch(`[${v6}]`)),
      fetch(v4),
      fetch('127.0.0.1'),
    ];
    const answers = [];
    for (const command of commands) answers.push((await host.run(command, {mayFail: true})).stdout);
    answers.push(
      (await podman.run(['exec', 'web', 'wget', '-qO-', `http://${v4}:8080/`], {mayFail: true})).stdout,
    );
    return answers;
  };
  t.deepEqual(await everywhere(), [page, page, page, page, page]);
  const elements = async () =>
    (
      (await host.run(['nft', 'list', 'table', 'inet', 'weft'])).stdout.match(
        /\d+ comment "[^"]*, id: \w+" : jump/g,
      ) ?? []
    ).length;
  // TCP and three ports of UDP, for two families; podman says 0.0.0.0 to none of them.
  t.is(await elements(), 8);
  const reload = await podman.run(['network', 'reload', 'web'], {mayFail: true});
  t.is(reload.code, 0, reload.stderr);
  t.deepEqual(await everywhere(), [page, page, page, page, page]);
  t.is(await elements(), 8);
  const second = await run('second', '-p', '8080:80');
  t.not(second.code, 0);
  t.regex(
    second.stderr,
    /host port 8080\/tcp is already mapped to container "[0-9a-f]+" of network "weft-ports"/,
  );
  await podman.run(['rm', '--force', '--time', '0', 'web', 'second']);
  t.is(await elements(), 0);
});
