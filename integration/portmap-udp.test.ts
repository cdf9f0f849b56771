import type {DriverOutcome} from './in-process/portmap-driver.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {repository} from './harness/paths.ts';
import {callPlugin} from './harness/plugin.ts';
import {ask, attachMapped, portmapConf, serve, unmap, type Question} from './harness/ports.ts';

const test = testWith('root', 'apt');

const mappings = [{hostPort: 5353, containerPort: 53, protocol: 'udp'}] as const;
/** A client that always sends from the same port, as DNS servers, games and VPNs do. */
const client = (address: string): Question => ({protocol: 'udp', address, port: 5353, sourcePort: 4000});

async function countConnections(host: TestHost): Promise<number> {
  const {stdout} = await host.run(['cat', '/proc/sys/net/netfilter/nf_conntrack_count']);
  return Number(stdout);
}

/** Those to one port: others come and go by themselves. */
async function countConnectionsTo(host: TestHost, dstPort: number): Promise<number> {
  const script = `
    import {createHost} from '${repository}/lib/host.ts';
    import {listConnections} from '${repository}/lib/netlink/conntrack/entry.ts';
    const host = createHost();
    const found = await listConnections(host.nft, {family: 4, protocol: 17, dstPort: ${dstPort}});
    console.log(found.length);
    host.close();`;
  const {stdout} = await host.run([process.execPath, '--no-warnings', '--input-type=module', '-e', script]);
  return Number(stdout);
}

for (const [title, index] of [
  ['IPv4', 0],
  ['IPv6', 1],
] as const)
  test(`a UDP client of ${title} reaches the next container after the last, from the same port`, async (t) => {
    const host = await makeHost(t);
    const outside = await addOutside(host);
    const address = outside.hostAddresses[index];
    const sees = (name: string) => `${name} sees ${outside.addresses[index]}`;
    // Asked before there is a mapping: the kernel remembers that the host was meant.
    t.deepEqual(await ask(host, 'outside', client(address)), ['ECONNREFUSED']);
    const one = await attachMapped(host, 'one', mappings);
    await serve(host, 'one', 'one', 53);
    t.deepEqual(await ask(host, 'outside', client(address)), [sees('one')]);
    await unmap(host, one);
    t.deepEqual(await ask(host, 'outside', client(address)), ['ECONNREFUSED'], 'DEL forgets where it led');
    const two = await attachMapped(host, 'two', mappings);
    await serve(host, 'two', 'two', 53);
    t.deepEqual(await ask(host, 'outside', client(address)), [sees('two')]);
    // The runtime lost what it knew.
    await unmap(host, two, {conf: portmapConf('ports', []), prevResult: undefined});
    t.deepEqual(await ask(host, 'outside', client(address)), ['ECONNREFUSED']);
  });

test('a UDP client follows when only the port in the container changes', async (t) => {
  const host = await makeHost(t);
  const outside = await addOutside(host);
  const address = outside.hostAddresses[0];
  const one = await attachMapped(host, 'one', mappings);
  await serve(host, 'one', 'first', 53);
  await serve(host, 'one', 'second', 54);
  t.deepEqual(await ask(host, 'outside', client(address)), [`first sees ${outside.addresses[0]}`]);
  const changed = portmapConf('ports', [{...mappings[0], containerPort: 54}]);
  await callPlugin(host, {...one.call, conf: changed, command: 'ADD'});
  t.deepEqual(await ask(host, 'outside', client(address)), [`second sees ${outside.addresses[0]}`]);
});

test('connections that only pass through the host, to the same port elsewhere, are kept', async (t) => {
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await attachMapped(host, 'web', []);
  await serve(host, 'outside', 'outside', 5353);
  const [v4] = outside.addresses;
  t.deepEqual(await ask(host, 'web', client(v4)), ['outside sees 192.0.2.1']);
  t.is(await countConnectionsTo(host, 5353), 1);
  const other = await attachMapped(host, 'other', mappings);
  await unmap(host, other);
  t.is(await countConnectionsTo(host, 5353), 1);
});

test('of many connections the kernel sends only those that may be meant', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.61.0.1/16 dev cni0');
  // The rules of an ADD switch connection tracking on; then a thousand of them, of which three are to the port.
  const flood = `
    const socket = require('dgram').createSocket('udp4');
    socket.on('error', () => {});
    socket.bind(0, async () => {
      for (let port = 10000; port < 11000; port++) await new Promise((done) => socket.send('x', port, '127.0.0.1', done));
      for (const to of ['127.0.0.1', '127.0.0.2', '127.0.0.3']) await new Promise((done) => socket.send('x', 5353, to, done));
      socket.close();
    });`;
  const conf = {
    ...portmapConf('ports', mappings),
    prevResult: {
      cniVersion: '1.0.0',
      interfaces: [{name: 'cni0'}, {name: 'eth0', sandbox: '/run/netns/none'}],
      ips: [{address: '10.61.0.2/16', interface: 1}],
    },
  };
  await host.sh(
    `printf '%s\\n' 'table ip t {' 'chain c {' 'type filter hook output priority 0' 'ct state invalid drop' '}' '}' | nft -f -`,
  );
  await host.run([process.execPath, '-e', flood]);
  t.true((await countConnections(host)) > 1000);
  const driver = `${repository}/integration/in-process/portmap-driver.ts`;
  const {stdout} = await host.run([process.execPath, '--no-warnings', driver], {
    stdin: JSON.stringify([{command: 'ADD', conf, containerId: 'c'}]),
  });
  const [outcome] = JSON.parse(stdout) as DriverOutcome[];
  t.is(outcome?.code, 0, outcome?.stdout);
  const forgotten = outcome?.requests.filter((what) => what.startsWith('forget connection')) ?? [];
  t.is(forgotten.length, 3, outcome?.requests.join('\n'));
  // Routes of three destinations are looked at, not of a thousand.
  t.true((outcome?.requests.length ?? 0) < 15, outcome?.requests.join('\n'));
});
