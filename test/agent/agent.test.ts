import test from 'ava';
import {Registry} from 'prom-client';
import {createAgent} from '../../agent/agent.ts';
import {Catalog} from '../../agent/catalog/catalog.ts';
import {parseConfig, type AgentConfig} from '../../agent/config.ts';
import type {AgentModule} from '../../agent/module.ts';
import type {ModuleRow} from '../../agent/modules.ts';
import {openLog} from '../../lib/log.ts';

const sections = ['cni', 'overlay', 'repair'] as const;

/** An agent whose modules write down what happens to them. */
function makeAgent({
  config = '{}',
  reloads = false,
}: {readonly config?: string; readonly reloads?: boolean} = {}) {
  const log: string[] = [];
  const fails = new Set<string>();
  const reasons = new Map<string, string>();
  const step = (name: string, what: string) => {
    log.push(`${name} ${what}`);
    return fails.has(`${name} ${what}`)
      ? Promise.reject(new Error(`${name} cannot ${what}`))
      : Promise.resolve();
  };
  const rows = sections.map((name): ModuleRow => ({
    name,
    isWanted: (config) => name === 'cni' || config[name] !== undefined,
    create: ({config}): AgentModule => ({
      name,
      start: () => step(name, 'start'),
      stop: () => step(name, 'stop'),
      ...(reloads && {reload: (next: AgentConfig) => step(name, `reload ${JSON.stringify(next[name])}`)}),
      reconcile: () => step(name, 'reconcile'),
      notReady: () => (reasons.has(name) ? [reasons.get(name)!] : []),
      status: () => ({section: config[name] ?? null}),
    }),
  }));
  const agent = createAgent({
    rows,
    context: {
      config: parseConfig(config),
      log: openLog({level: 'silent'}),
      host: undefined as never,
      metrics: new Registry(),
      node: 'node-a',
      catalog: new Catalog(),
    },
    about: {version: '0.1.0'},
  });
  return {agent, log, fails, reasons};
}

test('modules start in order and stop in reverse; those that nobody asks for do neither', async (t) => {
  const {agent, log} = makeAgent({config: '{"repair": {}}'});
  await agent.start();
  await agent.reconcile();
  await agent.stop();
  t.deepEqual(log, [
    'cni start',
    'repair start',
    'cni reconcile',
    'repair reconcile',
    'repair stop',
    'cni stop',
  ]);
});

test('when one cannot start, those before it are stopped and its error is thrown', async (t) => {
  const {agent, log, fails} = makeAgent({config: '{"repair": {}, "overlay": {}}'});
  fails.add('overlay start');
  await t.throwsAsync(agent.start(), {message: 'overlay cannot start'});
  t.deepEqual(log, ['cni start', 'overlay start', 'cni stop']);
});

test('one that cannot stop does not keep the others from it', async (t) => {
  const {agent, log, fails} = makeAgent({config: '{"repair": {}}'});
  fails.add('repair stop');
  await agent.start();
  await agent.stop();
  t.deepEqual(log.slice(2), ['repair stop', 'cni stop']);
});

test('ready is who runs and has no reason not to be', async (t) => {
  const {agent, reasons} = makeAgent();
  t.deepEqual(agent.notReady(), ['the agent is starting']);
  await agent.start();
  t.deepEqual(agent.notReady(), []);
  reasons.set('cni', 'no socket');
  t.deepEqual(agent.notReady(), ['cni: no socket']);
  t.deepEqual(agent.status(), {
    version: '0.1.0',
    ready: false,
    notReady: ['cni: no socket'],
    modules: {cni: {section: {enabled: true, maxCalls: 1024}}},
  });
  const stopped = agent.stop();
  t.deepEqual(agent.notReady(), ['the agent is stopping', 'cni: no socket']);
  await stopped;
});

test('a new configuration starts, stops and changes modules', async (t) => {
  const {agent, log} = makeAgent({config: '{"overlay": {"node": "a"}}', reloads: true});
  await agent.start();
  const changed = parseConfig('{"overlay": {"node": "b"}, "repair": {}}');
  await agent.reload(changed);
  await agent.reload(parseConfig('{}'));
  t.deepEqual(
    log.filter((line) => !line.startsWith('cni')),
    [
      'overlay start',
      `overlay reload ${JSON.stringify(changed.overlay)}`,
      'repair start',
      'overlay stop',
      'repair stop',
    ],
  );
});

test('a module that cannot reload is made anew, when its section changed', async (t) => {
  const {agent, log} = makeAgent({config: '{"overlay": {"node": "a"}}'});
  await agent.start();
  await agent.reload(parseConfig('{"overlay": {"node": "a"}, "logLevel": "debug"}'));
  t.deepEqual(log, ['cni start', 'overlay start']);
  await agent.reload(parseConfig('{"overlay": {"node": "b"}}'));
  t.deepEqual(log.slice(2), ['overlay stop', 'overlay start']);
  t.like(agent.status(), {modules: {overlay: {section: {node: 'b'}}}});
});

test('a module that does not take the new configuration keeps no other from it', async (t) => {
  const {agent, log, fails} = makeAgent({config: '{"overlay": {"node": "a"}}', reloads: true});
  await agent.start();
  fails.add('overlay reload {"node":"b"}');
  await agent.reload(parseConfig('{"overlay": {"node": "b"}, "repair": {}}'));
  t.is(log.at(-1), 'repair start');
});
