import {setTimeout as sleep} from 'node:timers/promises';
import {startAgentOn, weftOnHost} from './harness/agent.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

test('each section of names and services may change while the agent runs', async (t) => {
  const host = await makeHost(t);
  const agent = await startAgentOn(host);
  const service = (...args: string[]) => host.run([weftOnHost, 'service', ...args]);
  await service('register', 'shop', '--address', '192.0.2.5', '--port', '80', '--ttl', '300s');
  await service('pass', 'service:shop');
  await service('expose', 'shop', '--port', '80');
  const unreachable = {endpoints: ['http://192.0.2.1:2379']};
  for (const config of [
    {names: {upstreams: ['192.0.2.53']}, registry: {reapMs: 1000}, services: {resyncMs: 1000}},
    {sharing: unreachable},
    {sharing: {...unreachable, leaseTtlS: 30}, names: {enabled: false}, registry: {enabled: false}},
    {services: {weightsMs: 1000}},
  ]) {
    await host.write('/etc/weft/agent.json', JSON.stringify(config));
    await host.run(['kill', '-HUP', String(agent.pid)]);
    const isOff = (name: string) =>
      (config as Record<string, {enabled?: boolean} | undefined>)[name]?.enabled === false;
    const wanted = ['names', 'registry', 'services', ...('sharing' in config ? ['sharing'] : [])]
      .filter((name) => !isOff(name))
      .toSorted();
    let found: string[] = [];
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
      const status = JSON.parse((await agent.get('/status')).text) as {modules: object};
      found = Object.keys(status.modules)
        .filter((name) => ['names', 'registry', 'services', 'sharing'].includes(name))
        .toSorted();
      if (found.join() === wanted.join()) break;
    }
    t.deepEqual(found, wanted);
    await sleep(300);
    const {code, text} = await agent.get('/metrics');
    t.is(code, 200);
    for (const name of ['names_entries', 'registry_instances', 'services_services']) {
      if (!isOff(name.split('_')[0]!)) t.regex(text, new RegExp(`^weft_${name}\\b`, 'm'), name);
    }
  }
  t.regex((await service('list')).stdout, /default\/shop +10\.96\..*passing/);
});
