import {readFileSync} from 'node:fs';
import {Agent} from 'node:https';
import Consul from 'consul';

/*
 * A life of a service as a program with the npm package `consul` lives it, against an agent's registry over TLS: `node consul-worker.ts PORT
 * CA CERT KEY`. Prints what it was told, as JSON.
 */

const [port = '', ca = '', cert = '', key = ''] = process.argv.slice(2);
const options = {
  host: '127.0.0.1',
  port: Number(port),
  secure: true,
  agent: new Agent({ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key)}),
};
const consul = new Consul(options);

const {agent, catalog, health} = consul;
await agent.service.register({
  id: 'shop-1',
  name: 'shop',
  address: '192.0.2.5',
  port: 8080,
  tags: ['v1'],
  meta: {owner: 'team'},
  check: {name: 'beat', ttl: '60s'},
} as never);
const before = await health.service({service: 'shop', passing: true});
const checks = Object.keys(await agent.checks());
const index = (await health.service({service: 'shop'})) as unknown as {length: number};
const waiting = consul.health.service({service: 'shop', index: await indexOf(), wait: '30s'} as never);
await agent.check.pass({id: checks[0]!, note: 'well'});
const after = await waiting;
await agent.service.maintenance({id: 'shop-1', enable: true, reason: 'upgrade'});
const inMaintenance = await health.service({service: 'shop', passing: true});
await agent.service.maintenance({id: 'shop-1', enable: false});
const services = await catalog.service.list();
const nodes = await catalog.service.nodes('shop');
await agent.service.deregister('shop-1');
const gone = await catalog.service.nodes('shop');
console.log(
  JSON.stringify({before, checks, count: index.length, after, inMaintenance, services, nodes, gone}),
);

/** Where things stand, as a watch is told first. */
async function indexOf(): Promise<string> {
  const {promise, resolve} = Promise.withResolvers<string>();
  const watch = consul.watch({
    method: (query: object) => consul.health.service({service: 'shop', ...query}),
    options: {},
  });
  watch.once('change', (_: unknown, response: {headers: Record<string, string>}) => {
    watch.end();
    resolve(response.headers['x-consul-index']!);
  });
  return promise;
}
