import {existsSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {parseArgs} from 'node:util';
import {ensurePackages} from '../integration/harness/debian.ts';
import {startHost, type TestHost} from '../integration/harness/host.ts';
import {attachNamed, namedNetwork} from '../integration/harness/names.ts';
import {pluginDir, repository} from '../integration/harness/paths.ts';
import {serve} from '../integration/harness/ports.ts';
import {
  makeInstance,
  makeService,
  startServices,
  type ServicesDriver,
} from '../integration/harness/services.ts';
import type {ServiceDefinition, ServiceInstance} from '../agent/catalog/model.ts';
import {spreadOf} from './statistics.ts';

/*
 * What addresses of services cost with 10, 1,000 and 5,000 of them: one more service, one instance that goes and comes back, and the first
 * packet of a connection. Each size has a host of its own, and they take turns. Root, and `npm run build` first.
 */

const {values: flags} = parseArgs({
  options: {
    json: {type: 'boolean', default: false},
    rounds: {type: 'string', default: '15'},
    sizes: {type: 'string', default: '10,1000,5000'},
  },
});
const rounds = Number(flags.rounds);
const sizes = flags.sizes.split(',').map(Number);
const worker = path.join(repository, 'bench/connect-worker.ts');
const vip = '10.96.255.7';

interface Site {
  readonly size: number;
  readonly host: TestHost;
  readonly driver: ServicesDriver;
  readonly services: readonly ServiceDefinition[];
  readonly instances: readonly ServiceInstance[];
  readonly fillMs: number;
  readonly addMs: number[];
  readonly changeMs: number[];
  readonly connectUs: number[];
}

if (!existsSync(path.join(pluginDir, 'bridge')))
  throw new Error(`${pluginDir} has no plugins: run \`npm run build\` first`);
await ensurePackages('tools');
const loadBefore = os.loadavg()[0]!;
const sites: Site[] = [];
try {
  for (const size of sizes) sites.push(await openSite(size));
  for (let round = 0; round < rounds; round++) for (const site of sites) await measure(site);
} finally {
  for (const {host} of sites) await host.close();
}
report();

async function openSite(size: number): Promise<Site> {
  const host = await startHost();
  await host.write('/etc/cni/net.d/net1.conflist', namedNetwork('net1', {type: 'tuning'}));
  for (const name of ['client', 'server']) await host.addNetns(name);
  await attachNamed(host, 'net1', 'client');
  const result = await attachNamed(host, 'net1', 'server');
  const address = result.ips![0]!.address.split('/')[0]!;
  await serve(host, 'server', 'server', 8080);
  const driver = await startServices(host, {ranges: ['10.96.0.0/16'], resyncMs: 3_600_000});
  const measured = makeService({name: 'measured', addresses: [vip]});
  const others = Array.from({length: size - 1}, (_, i) =>
    makeService({name: `s${i}`, addresses: [`10.96.${i >> 8}.${i & 255}`]}),
  );
  const services = [measured, ...others];
  const instances = services.flatMap(({name}) =>
    [0, 1, 2].map((i) =>
      makeInstance(`${name}-${i}`, name === 'measured' ? address : `10.61.${i}.9`, {name}),
    ),
  );
  const {ms} = await driver.set(services, instances);
  return {size, host, driver, services, instances, fillMs: ms, addMs: [], changeMs: [], connectUs: []};
}

async function measure({driver, services, instances, host, addMs, changeMs, connectUs}: Site): Promise<void> {
  const more = makeService({name: 'more', addresses: ['10.96.254.1']});
  const moreInstance = makeInstance('more-0', '10.61.0.9', {name: 'more'});
  addMs.push((await driver.set([...services, more], [...instances, moreInstance])).ms);
  await driver.set(services, instances);
  changeMs.push((await driver.set(services, instances.slice(0, -1))).ms);
  await driver.set(services, instances);
  const {stdout} = await host.run(
    host.inNetns('client', [process.execPath, '--no-warnings', worker, vip, '80', '100']),
  );
  connectUs.push(...(JSON.parse(stdout) as number[]));
}

function report(): void {
  const rows = sites.map(({size, fillMs, addMs, changeMs, connectUs}) => ({
    services: size,
    fillMs,
    addMs: spreadOf(addMs),
    changeMs: spreadOf(changeMs),
    connectUs: spreadOf(connectUs),
  }));
  if (flags.json) {
    console.log(JSON.stringify({rounds, rows}, undefined, 2));
    return;
  }
  console.log(
    `${rounds} rounds in turns; load ${loadBefore.toFixed(1)} before. Three instances and two ports each.\n`,
  );
  console.log('services  all at once ms  one more ms  one instance ms  connect us: median   p95');
  for (const {services, fillMs, addMs, changeMs, connectUs} of rows) {
    console.log(
      [
        String(services).padStart(8),
        fillMs.toFixed(0).padStart(15),
        addMs.median.toFixed(1).padStart(12),
        changeMs.median.toFixed(1).padStart(16),
        connectUs.median.toFixed(0).padStart(19),
        connectUs.p95.toFixed(0).padStart(6),
      ].join(' '),
    );
  }
}
