import {once} from 'node:events';
import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {drawNetwork, type DrawnContainer} from './harness/drawing.ts';
import {startHost, type TestHost} from './harness/host.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir, repository} from './harness/paths.ts';
import type {Reply} from './harness/plugin.ts';
import {findLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';
import {expect, runDemo, say, see} from './harness/narration.ts';

// `npm run demo`: two containers on one network, made by cnitool with a conflist out of conf/, in a host of the
// demo's own. Everything is told as it is seen; the exit code is 0 only if all of it was seen to be true.

const conflist = path.join(repository, 'conf/dual-stack.conflist');
const httpScript = path.join(import.meta.dirname, 'harness/http.ts');
const network = 'weft-dual-stack';

interface Container extends DrawnContainer {
  readonly ipv4: string;
  readonly ipv6: string;
}

const withoutPrefix = (cidr: string | undefined) => cidr?.split('/')[0] ?? '';
const urlOf = (address: string) => `http://${address.includes(':') ? `[${address}]` : address}:8080/`;

function cnitool(host: TestHost, verb: string, name: string) {
  return host.run([path.join(pluginDir, 'cnitool'), verb, network, `/run/netns/${name}`], {
    env: {CNI_PATH: pluginDir, NETCONFPATH: path.dirname(conflist), PATH: '/usr/sbin:/usr/bin:/sbin:/bin'},
  });
}

async function serve(host: TestHost, name: string): Promise<void> {
  const server = host.start(
    host.inNetns(name, [
      'sh',
      '-c',
      'echo $$ >> /run/serving; exec "$@"',
      'sh',
      process.execPath,
      httpScript,
      'serve',
      name,
      '8080',
    ]),
  );
  await once(server.stdout!, 'data');
}

async function get(host: TestHost, from: string, address: string): Promise<string> {
  return (await host.run(host.inNetns(from, [process.execPath, httpScript, 'get', urlOf(address)]))).stdout;
}

async function attach(host: TestHost, name: string): Promise<Container> {
  await host.addNetns(name);
  const {stdout} = await cnitool(host, 'add', name);
  const result = JSON.parse(stdout) as Reply;
  const [ipv4, ipv6] = ['.', ':'].map((mark) =>
    withoutPrefix(result.ips?.find(({address}) => address.includes(mark))?.address),
  );
  if (!ipv4 || !ipv6) throw new Error(`an address of each family was expected: ${stdout}`);
  if (name === 'one') say(`\nThe result of ADD for container "one":\n\n${stdout}\n`);
  return {name, result, ipv4, ipv6};
}

async function showTraffic(host: TestHost, one: Container, two: Container): Promise<void> {
  for (const container of [one, two]) await serve(host, container.name);
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const)
    for (const address of [to.ipv4, to.ipv6]) {
      await see(`${from.name} pings ${to.name} at ${address}`, async () => {
        const {stdout} = await host.run(host.inNetns(from.name, ['ping', '-c', '1', '-W', '3', address]));
        return /time=[\d.]+ ms/.exec(stdout)?.[0];
      });
      await see(`${from.name} fetches from ${to.name} at ${urlOf(address)}`, async () => {
        const page = await get(host, from.name, address);
        expect(page.startsWith(`page of ${to.name}`), `it got: ${page}`);
        return page;
      });
    }
}

async function showOutside(host: TestHost, one: Container): Promise<void> {
  const outside = await addOutside(host);
  await serve(host, outside.netns);
  for (const [index, address] of outside.addresses.entries())
    await see(`one reaches ${address} outside, masqueraded as the host`, async () => {
      const page = await get(host, one.name, address);
      expect(page.endsWith(`asked by ${outside.hostAddresses[index]}`), `it got: ${page}`);
      return page;
    });
  await host.sh('ip link del uplink');
  await host.removeNetns(outside.netns);
}

async function main(): Promise<void> {
  say('weft: two containers on one network\n');
  say(`Plugins: ${pluginDir}\nNetwork: ${path.relative(repository, conflist)}\n`);
  say((await readFile(conflist, 'utf8')).trimEnd());
  const host = await startHost();
  try {
    const before = await takeSnapshot(host);
    const one = await attach(host, 'one');
    const two = await attach(host, 'two');
    say('What was made:\n');
    say(await drawNetwork(host, [one, two]));
    say('\nWhat it does:\n');
    await showTraffic(host, one, two);
    await showOutside(host, one);
    for (const {name} of [one, two])
      await see(`CHECK finds ${name} as it was made`, async () => void (await cnitool(host, 'check', name)));
    for (const {name} of [one, two])
      await see(`DEL takes ${name} away`, async () => void (await cnitool(host, 'del', name)));
    await host.sh('kill $(cat /run/serving); rm /run/serving');
    for (const {name} of [one, two]) await host.removeNetns(name);
    await see('nothing of them is left: links, addresses, routes, rules, reservations, files', async () => {
      const left = await findLeft(host, before, [...staysByDesign, /^(address|route \S+ ) weft0 /]);
      expect(left.length === 0, left.join('\n'));
    });
  } finally {
    await host.close();
  }
}

await runDemo('npm run demo', main);
