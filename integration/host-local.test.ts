import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin, referenceDir, tryPlugin, type PluginCall} from './harness/plugin.ts';
import {isKilled, injecting, parseTrace, tracing} from './harness/strace.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const dataDir = '/var/lib/cni/networks';

/** host-local called by itself, as an IPAM plugin is. */
function network(name: string, ranges: unknown, ipam: object = {}) {
  return {cniVersion: '1.0.0', name, type: 'host-local', ipam: {type: 'host-local', ranges, ...ipam}};
}

const dual = [[{subnet: '10.77.0.0/24'}], [{subnet: 'fd00:77::/64'}]];

async function listReservations(host: TestHost, name: string): Promise<string[]> {
  const {stdout} = await host.sh(`ls -A ${dataDir}/${name}`);
  return stdout
    .split('\n')
    .filter((file) => file !== '' && file !== 'lock' && !file.startsWith('last_reserved_ip.'));
}

/** The address an ADD gives. */
async function add(host: TestHost, call: Omit<PluginCall, 'command'>): Promise<string> {
  const {ips} = await callPlugin(host, {netns: '/no/such/netns', ...call, command: 'ADD'});
  return ips?.[0]?.address.split('/')[0] ?? '';
}

test('16 processes of each allocate from one range at once, and give back what the others got', async (t) => {
  t.timeout(120_000);
  const host = await makeHost(t);
  const conf = network('crowd', dual);
  const each = 3;
  const dirs = [pluginDir, referenceDir()];
  const [adders, removers] = [dirs, [...dirs].reverse()];
  // One shell for many calls: what is tested is the plugins, not the test.
  const verb = (command: string, dir: string, id: string) =>
    `for i in $(seq ${each}); do echo '${JSON.stringify(conf)}' | CNI_COMMAND=${command} CNI_CONTAINERID=${id}-$i ` +
    `CNI_NETNS=/no/such/netns CNI_IFNAME=eth0 CNI_PATH=${dir} ${path.join(dir, 'host-local')} || exit 1; done`;
  const storm = (command: string, order: readonly string[]) =>
    Promise.all(
      order.flatMap((dir, which) =>
        Array.from({length: 16}, (_, i) =>
          host.sh(verb(command, dir, `c${which}-${i}`), {timeoutMs: 60_000, log: () => {}}),
        ),
      ),
    );
  const outputs = await storm('ADD', adders);
  const addresses = outputs.flatMap(({stdout}) =>
    [...stdout.matchAll(/"address": "([^/]+)/g)].map((match) => match[1]!),
  );
  t.is(addresses.length, 2 * 32 * each, 'every ADD gave two addresses');
  t.is(new Set(addresses).size, addresses.length, 'no address twice');
  t.deepEqual((await listReservations(host, 'crowd')).toSorted(), addresses.toSorted(), 'a file for each');
  const {stdout} = await host.sh(`cat ${dataDir}/crowd/10.77.0.2 | od -c | head -3`);
  t.regex(stdout, /\\r {2}\\n {3}e {3}t {3}h {3}0/);
  await storm('DEL', removers);
  t.deepEqual(await listReservations(host, 'crowd'), []);
});

test('sees at once what the reference changes, and the reference what we change', async (t) => {
  const host = await makeHost(t);
  const [ours, theirs] = [pluginDir, referenceDir()];
  const conf = network('turns', [[{subnet: '10.77.0.0/29'}]]);
  const call = {conf, netns: '/no/such/netns'};
  t.is(await add(host, {conf, dir: ours, containerId: 'a'}), '10.77.0.2');
  t.is(await add(host, {conf, dir: theirs, containerId: 'b'}), '10.77.0.3');
  t.is(await add(host, {conf, dir: ours, containerId: 'c'}), '10.77.0.4');
  for (const containerId of ['a', 'b', 'c']) {
    for (const dir of [ours, theirs]) await callPlugin(host, {...call, dir, containerId, command: 'CHECK'});
  }
  await callPlugin(host, {...call, dir: theirs, containerId: 'a', command: 'DEL'});
  t.is((await tryPlugin(host, {...call, dir: ours, containerId: 'a', command: 'CHECK'})).reply?.code, 999);
  await callPlugin(host, {...call, dir: ours, containerId: 'b', command: 'DEL'});
  t.is((await tryPlugin(host, {...call, dir: theirs, containerId: 'b', command: 'CHECK'})).code, 1);
  t.is(await add(host, {conf, dir: theirs, containerId: 'd'}), '10.77.0.5');
  t.is(await add(host, {conf, dir: ours, containerId: 'e'}), '10.77.0.6');
  t.is(await add(host, {conf, dir: theirs, containerId: 'f'}), '10.77.0.2');
  t.is(await add(host, {conf, dir: ours, containerId: 'g'}), '10.77.0.3');
  for (const dir of [ours, theirs]) {
    const {reply} = await tryPlugin(host, {...call, dir, containerId: 'h', command: 'ADD'});
    t.is(
      reply?.msg,
      'failed to allocate for range 0: no IP addresses available in range set: 10.77.0.1-10.77.0.6',
    );
  }
});

test('says the same as the reference, whatever is wrong', async (t) => {
  const host = await makeHost(t);
  const good = network('errors', [[{subnet: '10.77.0.0/30'}]]);
  await add(host, {conf: good, containerId: 'a'});
  const cases: readonly Omit<PluginCall, 'command'>[] = [
    {conf: good, containerId: 'a'},
    {conf: good, containerId: 'b'},
    {conf: good, containerId: 'b', args: 'IP=10.77.0.1'},
    {conf: good, containerId: 'b', args: 'IP=10.77.0.2'},
    {conf: good, containerId: 'b', args: 'IP=10.77.0.2;X=1'},
    {conf: good, containerId: 'b', args: 'IP'},
    {conf: {...good, ipam: undefined}, containerId: 'b'},
    {conf: network('errors', []), containerId: 'b'},
    {conf: network('errors', [[]]), containerId: 'b'},
    {conf: network('errors', [[{}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/31'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.5/24'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/24', rangeStart: '10.0.1.0'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/24', rangeEnd: '10.0.1.0'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/24'}, {subnet: '10.0.0.0/16'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/24'}, {subnet: 'fd00::/64'}]]), containerId: 'b'},
    {conf: network('errors', [[{subnet: '10.0.0.0/24'}], [{subnet: '10.0.0.0/16'}]]), containerId: 'b'},
    {
      conf: {
        ...network('errors', [[{subnet: '10.0.0.0/24'}], [{subnet: '10.1.0.0/16'}]]),
        cniVersion: '0.2.0',
      },
      containerId: 'b',
    },
    {
      conf: {...network('errors', [[{subnet: '10.0.0.0/24'}]]), runtimeConfig: {ips: ['10.9.9.9']}},
      containerId: 'b',
    },
    {conf: network('errors', [[{subnet: '10.0.0.0/24'}]], {resolvConf: '/no/such/file'}), containerId: 'b'},
  ];
  for (const each of cases) {
    const call = {netns: '/no/such/netns', ...each, command: 'ADD' as const};
    const theirs = await tryPlugin(host, {...call, dir: referenceDir()});
    const ours = await tryPlugin(host, call);
    t.is(ours.code, 1);
    t.is(ours.reply?.msg, theirs.reply?.msg);
  }
});

test('killed at any system call of an ADD, a reservation is whole or not there', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const conf = network('killed', [[{subnet: '10.77.0.0/24'}]]);
  const call = {conf, netns: '/no/such/netns'};
  const quiet = {log: () => {}, timeoutMs: 20_000};
  await callPlugin(host, {...call, containerId: 'first', command: 'ADD'});
  await callPlugin(host, {
    ...call,
    containerId: 'traced',
    command: 'ADD',
    under: tracing('/run/trace'),
    options: quiet,
  });
  const calls = parseTrace(await host.read('/run/trace')).filter(
    ({text}) => text.includes('killed') || text.includes('.weft'),
  );
  const names = new Set(calls.map(({name}) => name));
  for (const name of ['openat', 'link', 'unlink']) t.true(names.has(name), `an ADD calls ${name}`);
  let hits = 0;
  for (const [i, each] of calls.entries()) {
    const containerId = `hit-${i}`;
    const under = injecting(each, 'KILL', '/run/injected');
    if (isKilled(await tryPlugin(host, {...call, containerId, command: 'ADD', under, options: quiet})))
      hits++;
    const where = `${each.name} ${each.nth} (${each.text.slice(0, 80)})`;
    const files = (await listReservations(host, 'killed')).filter((file) => file !== '.weft-new');
    const contents = await Promise.all(files.map((file) => host.read(`${dataDir}/killed/${file}`)));
    for (const content of contents) t.regex(content, /^(first|traced|hit-\d+)\r\neth0$/, where);
    const isReserved = contents.some((content) => content.startsWith(`${containerId}\r`));
    for (const dir of [pluginDir, referenceDir()]) {
      const check = await tryPlugin(host, {...call, dir, containerId, command: 'CHECK', options: quiet});
      t.is(check.code === 0, isReserved, `CHECK after ${where}`);
    }
    await callPlugin(host, {...call, containerId, command: 'DEL', options: quiet});
  }
  await callPlugin(host, {...call, containerId: 'last', command: 'ADD'});
  t.is((await listReservations(host, 'killed')).length, 3);
  t.true(hits >= calls.length * 0.5, `${hits} of ${calls.length} were hit`);
});

test('a full or read-only file system is named, with the remedy, and nothing is left', async (t) => {
  const host = await makeHost(t);
  await host.sh(`mkdir -p /run/small && mount -t tmpfs -o nr_inodes=6 tmpfs /run/small`);
  const conf = network('small', [[{subnet: '10.77.0.0/24'}]], {dataDir: '/run/small'});
  const call = {conf, netns: '/no/such/netns'};
  await callPlugin(host, {...call, containerId: 'a', command: 'ADD'});
  const full = await tryPlugin(host, {...call, containerId: 'b', command: 'ADD'});
  t.is(full.reply?.code, 5);
  t.is(
    full.reply?.msg,
    'failed to allocate for range 0: cannot create /run/small/small/10.77.0.3: no space left on device',
  );
  t.regex(full.reply?.details ?? '', /free space or inodes .* ipam\.dataDir/);
  t.is((await host.sh('ls -A /run/small/small')).stdout, '10.77.0.2\nlast_reserved_ip.0\nlock\n');
  await callPlugin(host, {...call, containerId: 'a', command: 'DEL'});
  t.is(await add(host, {conf, containerId: 'b'}), '10.77.0.3');

  await host.sh('mount -o remount,ro /run/small');
  const readOnly = await tryPlugin(host, {...call, containerId: 'c', command: 'ADD'});
  t.is(readOnly.reply?.code, 5);
  t.regex(
    readOnly.reply?.msg ?? '',
    /cannot write a reservation to \/run\/small\/small: read-only file system$/,
  );
  await callPlugin(host, {...call, containerId: 'b', command: 'CHECK'});
  const del = await tryPlugin(host, {...call, containerId: 'b', command: 'DEL'});
  t.is(del.reply?.msg, 'cannot remove /run/small/small/10.77.0.3: read-only file system');
  const status = await tryPlugin(host, {conf: {...conf, cniVersion: '1.1.0'}, command: 'STATUS'});
  t.is(status.reply?.code, 50);
  t.is(status.reply?.msg, 'cannot write to /run/small/small: read-only file system');
});

test('an unprivileged user has reservations in a directory of its own', async (t) => {
  const host = await makeHost(t);
  await host.sh('mkdir -p /run/user && chown 65534:65534 /run/user');
  const conf = network('mine', dual, {dataDir: '/run/user/networks', indexDir: '/run/user/index'});
  const call = {
    conf,
    netns: '/no/such/netns',
    containerId: 'a',
    // The repository may lie where nobody else looks.
    dir: '/opt/cni/bin',
    under: ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups'],
  };
  const {ips} = await callPlugin(host, {...call, command: 'ADD'});
  t.is(ips?.length, 2);
  await callPlugin(host, {...call, command: 'CHECK'});
  t.regex((await host.sh('ls -A /run/user/index')).stdout, /^mine\.\d+-\d+\n$/);
  await callPlugin(host, {...call, command: 'DEL'});
  t.is(
    (await host.sh('ls -A /run/user/networks/mine')).stdout,
    'last_reserved_ip.0\nlast_reserved_ip.1\nlock\n',
  );
  const denied = await tryPlugin(host, {...call, conf: network('mine', dual), command: 'ADD'});
  t.is(denied.reply?.code, 5);
  t.is(denied.reply?.msg, `cannot create ${dataDir}/mine: permission denied`);
});

test('opens no reservation but its own, however many there are', async (t) => {
  const host = await makeHost(t);
  const conf = {...network('many', [[{subnet: '10.77.0.0/16'}]]), cniVersion: '1.1.0'};
  const call = {conf, netns: '/no/such/netns', containerId: 'one'};
  await host.sh(
    `mkdir -p ${dataDir}/many && cd ${dataDir}/many && for i in $(seq 2 250); do printf 'c%s\\r\\neth0' $i > 10.77.0.$i; done`,
  );
  await callPlugin(host, {...call, containerId: 'zero', command: 'ADD'});
  const attachments = ['zero', ...Array.from({length: 250}, (_, i) => `c${i}`)].map((containerID) => ({
    containerID,
    ifname: 'eth0',
  }));
  for (const command of ['ADD', 'CHECK', 'STATUS', 'DEL', 'GC'] as const) {
    await callPlugin(host, {
      ...call,
      command,
      attachments,
      under: tracing('/run/trace').map((word) => (word.startsWith('trace=') ? 'trace=openat,open' : word)),
    });
    const opened = (await host.read('/run/trace')).split('\n').filter((line) => line.includes('/10.77.'));
    t.true(opened.length <= 2, `${command} opened ${opened.length}`);
  }
});
