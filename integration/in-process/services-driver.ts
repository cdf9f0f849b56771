import {createInterface} from 'node:readline';
import {setTimeout as sleep} from 'node:timers/promises';
import {Registry} from 'prom-client';
import {Catalog} from '../../agent/catalog/catalog.ts';
import type {ServiceDefinition, ServiceInstance} from '../../agent/catalog/model.ts';
import {parseConfig} from '../../agent/config.ts';
import {servicesRow} from '../../agent/services/module.ts';
import {createHost} from '../../lib/host.ts';
import {openLog} from '../../lib/log.ts';

/*
 * The agent's module `services` by itself, in the namespace it is run in. Each line of stdin says all services and instances there are:
 * {"services": […], "instances": […]}, or "reconcile"; it is answered with a line of figures when the rules are changed.
 */

const catalog = new Catalog();
const metrics = new Registry();
const module = servicesRow.create({
  config: parseConfig(JSON.stringify({services: JSON.parse(process.argv[2] ?? '{}') as object})),
  log: openLog({level: 'warn'}),
  host: createHost(),
  metrics,
  node: 'node-a',
  catalog,
});
await module.start();
console.log('ready');

for await (const line of createInterface({input: process.stdin})) {
  const order = JSON.parse(line) as
    | 'reconcile'
    | {readonly services: ServiceDefinition[]; readonly instances: ServiceInstance[]};
  const before = await read('weft_services_change_seconds_count');
  const started = performance.now();
  if (order === 'reconcile') {
    await module.reconcile?.();
  } else {
    catalog.services.replace('local', order.services);
    catalog.instances.replace('local', order.instances);
    for (
      const deadline = Date.now() + 30_000;
      (await read('weft_services_change_seconds_count')) === before;
    ) {
      if (Date.now() > deadline) throw new Error('nothing was changed');
      await sleep(1);
    }
  }
  console.log(
    JSON.stringify({
      ms: performance.now() - started,
      transactions: await read('weft_services_transactions'),
      notReady: module.notReady(),
    }),
  );
}
process.exit(0);

async function read(name: string): Promise<number> {
  const text = await metrics.metrics();
  return Number(new RegExp(`^${name} (.*)$`, 'm').exec(text)?.[1]);
}
