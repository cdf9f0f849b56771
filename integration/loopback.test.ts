import {listAddresses, showLink} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');
const conf = {cniVersion: '1.1.0', name: 'lo', type: 'loopback'};

/** A container whose `lo` is still down, as a runtime hands it over. */
async function makeContainer(host: TestHost) {
  const netns = await host.addNetns('pod');
  await host.run(host.inNetns('pod', ['ip', 'link', 'set', 'lo', 'down']));
  return {conf, netns, containerId: 'one', ifName: 'lo'};
}

const isUp = async (host: TestHost) => (await showLink(host, 'lo', 'pod')).flags.includes('UP');

test('ADD brings lo up and reports its addresses, CHECK sees it, DEL brings it down', async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  const before = await takeSnapshot(host);
  const result = await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(result, {
    cniVersion: '1.1.0',
    interfaces: [{name: 'lo', mac: '00:00:00:00:00:00', sandbox: call.netns}],
    ips: [
      {address: '127.0.0.1/8', interface: 0},
      {address: '::1/128', interface: 0},
    ],
  } as never);
  t.true(await isUp(host));
  await callPlugin(host, {...call, command: 'CHECK', prevResult: result});
  await callPlugin(host, {...call, command: 'DEL', prevResult: result});
  t.false(await isUp(host));
  await callPlugin(host, {...call, command: 'DEL'});
  await assertNothingLeft(t, host, before, []);
});

test('ADD twice is no error: lo is there already', async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  const first = await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(await callPlugin(host, {...call, command: 'ADD'}), first);
});

test('CNI_IFNAME does not matter', async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  const result = await callPlugin(host, {...call, ifName: 'eth7', command: 'ADD'});
  t.is(result.interfaces?.[0]?.name, 'lo');
  t.true(await isUp(host));
});

test("chained, it prints the previous plugin's result unchanged", async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  const prevResult = {
    cniVersion: '1.1.0',
    interfaces: [{name: 'eth0', mac: '02:00:00:00:00:01', sandbox: call.netns}],
    ips: [{address: '10.1.0.7/24', gateway: '10.1.0.1', interface: 0}],
    routes: [{dst: '0.0.0.0/0', gw: '10.1.0.1', mtu: 1400}],
    dns: {nameservers: ['10.1.0.1']},
  };
  t.deepEqual(await callPlugin(host, {...call, command: 'ADD', prevResult}), prevResult as never);
  t.true(await isUp(host));
  await callPlugin(host, {...call, command: 'CHECK', prevResult});
});

test('CHECK says that lo is down', async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  const result = await callPlugin(host, {...call, command: 'ADD'});
  await host.run(host.inNetns('pod', ['ip', 'link', 'set', 'lo', 'down']));
  const {code, reply} = await tryPlugin(host, {...call, command: 'CHECK', prevResult: result});
  t.is(code, 1);
  t.is(reply?.code, 999);
  t.true(reply?.msg?.startsWith('loopback interface is down'), reply?.msg);
});

for (const address of ['10.9.0.1/8', '2001:db8::7/128'])
  test(`a lo with ${address} is refused`, async (t) => {
    const host = await makeHost(t);
    const call = await makeContainer(host);
    await host.run(host.inNetns('pod', ['ip', 'address', 'add', address, 'dev', 'lo']));
    const {code, reply} = await tryPlugin(host, {...call, command: 'ADD'});
    t.is(code, 1);
    t.is(reply?.msg, `loopback interface found with non-loopback address "${address}"`);
    // Nothing is left of it: lo is as it was.
    t.false(await isUp(host));
  });

test('other addresses of 127.0.0.0/8 and link-local ones are fine, and the first of a family is reported', async (t) => {
  const host = await makeHost(t);
  const call = await makeContainer(host);
  // 127.0.0.1 comes from the kernel.
  await host.run(host.inNetns('pod', ['ip', 'address', 'add', '127.0.0.53/8', 'dev', 'lo']));
  const {ips = []} = await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(
    ips.map((ip) => ip.address),
    ['127.0.0.1/8', '::1/128'],
  );
  t.true((await listAddresses(host, 'lo', 'pod')).includes('127.0.0.53/8'));
});

test('a namespace that is gone is an error for ADD and CHECK, none for DEL', async (t) => {
  const host = await makeHost(t);
  const call = {conf, netns: '/run/netns/gone', containerId: 'one', ifName: 'lo'};
  for (const command of ['ADD', 'CHECK'] as const) {
    const {code, reply} = await tryPlugin(host, {...call, command});
    t.is(code, 1);
    t.is(reply?.msg, 'failed to Statfs "/run/netns/gone": no such file or directory');
  }
  await callPlugin(host, {...call, command: 'DEL'});
  await callPlugin(host, {...call, netns: '', command: 'DEL'});
});

test('a file that is no namespace is named', async (t) => {
  const host = await makeHost(t);
  await host.write('/run/plain', '');
  const call = {conf, netns: '/run/plain', containerId: 'one', ifName: 'lo'};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(reply?.msg ?? '', /^unknown FS magic on "\/run\/plain": [0-9a-f]+$/);
});

test('GC and STATUS succeed and print nothing', async (t) => {
  const host = await makeHost(t);
  for (const command of ['GC', 'STATUS'] as const) {
    const {code, stdout} = await tryPlugin(host, {conf, command, attachments: []});
    t.is(code, 0);
    t.is(stdout, '');
  }
});
