import {mkdtempSync, readFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn} from './harness/agent.ts';
import {makeCertificates} from './harness/certificates.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {
  askDns,
  attachNamed,
  dataOf,
  fetchByName,
  namedNetwork,
  startPage,
  writeResolvConf,
} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir, repository} from './harness/paths.ts';
import {ask, serve} from './harness/ports.ts';

const test = testWith('root');
const weft = path.join(pluginDir, 'weft');

async function service(host: TestHost, ...args: string[]): Promise<string> {
  const {stdout} = await host.run([weft, 'service', ...args]);
  return stdout.trim();
}

test('a replica set behind one address: the one that fails is left out within its interval', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1'));
  await startAgentOn(host);
  const at: Record<string, string> = {};
  for (const name of ['a', 'b', 'c', 'client']) {
    await host.addNetns(name);
    const result = await attachNamed(host, 'net1', name);
    at[name] = result.ips![0]!.address.split('/')[0]!;
    if (name === 'client') continue;
    await serve(host, name, name, 8080);
    const checked = ['--check-tcp', `${at[name]}:8080`, '--interval', '200ms', '--timeout', '1s'];
    await service(
      host,
      'register',
      'shop',
      '--id',
      name,
      '--address',
      at[name],
      '--port',
      '8080',
      ...checked,
    );
  }
  const addresses = (await service(host, 'expose', 'shop', '--port', '80:8080', '--network', 'net1')).split(
    ' ',
  );
  const vip = addresses.find((each) => each.startsWith('10.96.'))!;
  const count = async () => {
    const questions = Array.from({length: 9}, () => ({address: vip, port: 80}));
    const answers = await ask(host, 'client', ...questions);
    return [...new Set(answers.map((each) => each.split(' ')[0]!))].toSorted();
  };
  const until = async (expected: readonly string[]) => {
    let found: readonly string[] = [];
    for (const deadline = Date.now() + 30_000; Date.now() < deadline; await sleep(50)) {
      found = await count();
      if (JSON.stringify(found) === JSON.stringify(expected)) return;
    }
    t.deepEqual(found, expected);
  };
  await until(['a', 'b', 'c']);
  const [named] = await askDns(host, 'client', [{server: '10.61.0.1', name: 'shop'}]);
  t.deepEqual(dataOf(named!), [vip]);
  const [instances] = await askDns(host, 'client', [{server: '10.61.0.1', name: 'shop.default.eps'}]);
  t.deepEqual(dataOf(instances!), [at['a']!, at['b']!, at['c']!].toSorted());
  await host.run(['pkill', '-KILL', '-f', 'port-worker.ts serve b ']);
  await until(['a', 'c']);
  const [without] = await askDns(host, 'client', [{server: '10.61.0.1', name: 'shop.default.eps'}]);
  t.deepEqual(dataOf(without!), [at['a']!, at['c']!].toSorted());
  await service(host, 'drain', 'c');
  await until(['a']);
  await service(host, 'deregister', 'a');
  await until(['ECONNREFUSED']);
  await serve(host, 'b', 'b', 8080);
  await until(['b']);
  t.regex(
    await service(host, 'list'),
    /default\/shop +10\.96\.\S+ \S+ +b +\S+ +10\.61\.0\.\d+:8080 +passing/,
  );
  await service(host, 'hide', 'shop');
  const [hidden] = await askDns(host, 'client', [{server: '10.61.0.1', name: 'shop'}]);
  t.deepEqual(dataOf(hidden!), [at['b']!]);
});

test('what is registered outlives the agent and the containers reach it by name', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1'));
  const first = await startAgentOn(host);
  await host.addNetns('web');
  await host.addNetns('client');
  const result = await attachNamed(host, 'net1', 'web');
  const address = result.ips![0]!.address.split('/')[0]!;
  await writeResolvConf(host, 'client', await attachNamed(host, 'net1', 'client'));
  await service(host, 'register', 'shop', '--address', address, '--port', '8080', '--ttl', '300s');
  await service(host, 'pass', 'service:shop');
  await startPage(host, 'web', 8080);
  await first.stop('KILL');
  await startAgentOn(host);
  await service(host, 'pass', 'service:shop');
  for (const deadline = Date.now() + 20_000; ; await sleep(50)) {
    try {
      t.regex(await fetchByName(host, 'client', 'http://shop.default.svc:8080/'), /^page of web/);
      break;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
  const {stdout} = await host.run([weft, 'dns', 'query', 'shop', '--server', '10.61.0.1']);
  t.is(stdout.trim(), address);
});

test('the npm client of Consul registers, waits, finds; without a certificate nobody gets in', async (t) => {
  const host = await makeHost(t);
  const directory = mkdtempSync(path.join(tmpdir(), 'weft-tls-'));
  const {ca, cert, key} = await makeCertificates(directory, ['127.0.0.1']);
  for (const [name, file] of Object.entries({ca, cert, key})) {
    await host.write(`/etc/weft/${name}.pem`, readFileSync(file, 'utf8'));
  }
  const files = {ca: '/etc/weft/ca.pem', cert: '/etc/weft/cert.pem', key: '/etc/weft/key.pem'};
  await startAgentOn(host, {config: {node: 'node-a', registry: {tls: {listen: '127.0.0.1:8501', ...files}}}});
  const worker = path.join(repository, 'integration/harness/consul-worker.ts');
  const {stdout} = await host.run([
    process.execPath,
    '--no-warnings',
    worker,
    '8501',
    files.ca,
    files.cert,
    files.key,
  ]);
  const said = JSON.parse(stdout) as {
    before: unknown[];
    checks: string[];
    count: number;
    after: {Service: object; Checks: {Status: string; Output: string}[]}[];
    inMaintenance: unknown[];
    services: object;
    nodes: {Node: string}[];
    gone: unknown[];
  };
  t.deepEqual(said.before, []);
  t.deepEqual(said.checks, ['service:shop-1']);
  t.is(said.count, 1);
  t.like(said.after[0]?.Service, {
    ID: 'shop-1',
    Service: 'shop',
    Address: '192.0.2.5',
    Port: 8080,
    Meta: {owner: 'team'},
  });
  t.like(said.after[0]?.Checks[0], {Status: 'passing', Output: 'well'});
  t.deepEqual(said.inMaintenance, []);
  t.deepEqual(said.services, {shop: ['v1']});
  t.is(said.nodes[0]?.Node, 'node-a');
  t.deepEqual(said.gone, []);
  const {code} = await host.run(['curl', '-sk', 'https://127.0.0.1:8501/v1/agent/services'], {mayFail: true});
  // curl(1): the TLS handshake failed, or what was said after it, as there is no certificate of ours.
  t.true(code === 35 || code === 56, String(code));
  const refused = await host.run([weft, 'service', 'register', 'a b'], {mayFail: true});
  t.regex(refused.stderr, /weft service: "Name": "a b" is no name/);
});
