import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {ensurePackages} from './harness/debian.ts';
import type {Etcd} from './harness/etcd.ts';
import {attachNamed, fetchByName, startPage, writeResolvConf} from './harness/names.ts';
import {agentConfig, podConf, putNetwork, startStore, storeMembership} from './harness/overlay-cluster.ts';
import {startRig, type OverlayRig, type RigHost} from './harness/overlay-rig.ts';
import {pluginDir} from './harness/paths.ts';
import {runDemo, say, see} from './harness/narration.ts';

// `npm run demo:services`: two hosts in namespaces with an overlay and a real etcd; containers find each other by name, on one host and across,
// and behind one address. The exit code is 0 only if all of it was seen to be true. Nothing of the machine is changed.

const {cniVersion, name: network, ...vxlan} = podConf;
const weft = path.join(pluginDir, 'weft');

/** Tries again until it holds: names of other hosts take a moment. */
async function eventually(check: () => Promise<string>): Promise<string> {
  const started = performance.now();
  for (;;) {
    try {
      const said = await check();
      return `${said} (after ${(performance.now() - started).toFixed(0)} ms)`;
    } catch (error) {
      if (performance.now() - started > 30_000) throw error;
      await sleep(50);
    }
  }
}

async function startAgent(host: RigHost, etcd: Etcd): Promise<void> {
  const conflist = {
    cniVersion,
    name: network,
    plugins: [vxlan, {type: 'discovery', domainName: 'pods.internal'}],
  };
  await host.host.write(`/etc/cni/net.d/${network}.conflist`, JSON.stringify(conflist));
  const config = agentConfig(host.name, storeMembership(etcd));
  await host.startAgent({...config, logLevel: 'warn', node: host.name, sharing: {endpoints: etcd.endpoints}});
}

async function addContainer({host}: RigHost, name: string): Promise<string> {
  await host.addNetns(name);
  const result = await attachNamed(host, network, name);
  await writeResolvConf(host, name, result);
  return result.ips!.find(({address}) => address.includes('.'))!.address.split('/')[0]!;
}

async function service({host}: RigHost, ...args: string[]): Promise<string> {
  return (await host.run([weft, 'service', ...args])).stdout.trim();
}

async function fetchMany(host: RigHost, from: string, url: string, count: number): Promise<string> {
  const names = new Set<string>();
  for (let i = 0; i < count; i++) {
    const text = await fetchByName(host.host, from, url);
    names.add(/^page of (\S+),/.exec(text)![1]!);
  }
  return [...names].toSorted().join(' and ');
}

async function show(rig: OverlayRig, etcd: Etcd): Promise<void> {
  const [h1, h2] = rig.hosts as readonly [RigHost, RigHost];
  for (const host of rig.hosts) await startAgent(host, etcd);
  await addContainer(h1, 'service1');
  const local = await addContainer(h1, 'local');
  const remote = await addContainer(h2, 'service2');
  await startPage(h1.host, 'local', 8080);
  await startPage(h2.host, 'service2', 8080);
  say(
    `host ${h1.name}: service1, local (${local});  host ${h2.name}: service2 (${remote});  etcd on a third`,
  );
  say('\nBy name:');
  await see('service1 fetches http://local:8080/hello on its own host', () =>
    fetchByName(h1.host, 'service1', 'http://local:8080/hello'),
  );
  await see('service1 fetches http://service2:8080/hello on the other host', () =>
    eventually(() => fetchByName(h1.host, 'service1', 'http://service2:8080/hello')),
  );
  say('\nBehind one address:');
  for (const [host, name, address] of [
    [h1, 'local', local],
    [h2, 'service2', remote],
  ] as const) {
    await service(
      host,
      'register',
      'shop',
      '--id',
      name,
      '--address',
      address,
      '--port',
      '8080',
      '--check-tcp',
      `${address}:8080`,
      '--interval',
      '500ms',
    );
  }
  await see('weft service expose shop --port 80:8080', () =>
    service(h1, 'expose', 'shop', '--port', '80:8080'),
  );
  await see('six fetches of http://shop.default.svc are answered by both', () =>
    eventually(async () => {
      const names = await fetchMany(h1, 'service1', 'http://shop.default.svc/', 6);
      if (names !== 'local and service2') throw new Error(`answered by ${names}`);
      return names;
    }),
  );
  await h2.host.run(['pkill', '-KILL', '-f', 'http.ts serve service2']);
  await see('service2 stopped: only local answers', () =>
    eventually(async () => {
      const names = await fetchMany(h1, 'service1', 'http://shop.default.svc/', 4);
      if (names !== 'local') throw new Error(`answered by ${names}`);
      return names;
    }),
  );
  say('\nWithout etcd:');
  await etcd.members[0]!.stop('SIGKILL');
  await see('etcd killed: the name of the other host still answers', async () => {
    const {stdout} = await h1.host.run(['ip', 'netns', 'exec', 'service1', 'getent', 'hosts', 'service2']);
    return stdout.trim();
  });
  say(`\n${await service(h1, 'list')}`);
}

async function main(): Promise<void> {
  for (const set of ['tools', 'etcd'] as const) await ensurePackages(set);
  const rig = await startRig({hosts: 2});
  let etcd: Etcd | undefined;
  try {
    etcd = await startStore(rig);
    await putNetwork(etcd);
    await show(rig, etcd);
  } finally {
    await etcd?.close();
    await rig.close();
  }
}

await runDemo('npm run demo:services', main);
