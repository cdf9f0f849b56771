import {readdirSync, readFileSync} from 'node:fs';
import path from 'node:path';
import {createInterface} from 'node:readline';
import {configurationOf, type Conflist} from '../integration/harness/chain.ts';
import {finish, finishMeasured, readPrivateBytes, start, type Command} from './launcher.ts';
import {exposeToOom, withMemoryLimit} from './memory-limit.ts';
import {makeNetnses} from './namespaces.ts';
import type {Answer, Order, Setting, Verb} from './protocol.ts';

/* Run by site.ts on a host of its own: takes orders, calls plugins as a runtime does, says what it took. */

const {dir, env, cgroup, agentPid} = JSON.parse(process.argv[2] ?? '{}') as Setting;
/** What each container's ADD gave, by network. */
const results = new Map<string, unknown>();

createInterface({input: process.stdin}).on('line', (line) => {
  let answer: Answer;
  try {
    answer = obey(JSON.parse(line) as Order);
  } catch (error) {
    answer = {error: error instanceof Error ? error.message : String(error)};
  }
  console.log(JSON.stringify(answer));
});

function obey(order: Order): Answer {
  switch (order.kind) {
    case 'containers':
      makeNetnses(Array.from({length: order.to - order.from}, (_, i) => netnsOf(order.from + i)));
      return {};
    case 'chain':
      return runChain(order);
    case 'crowd':
      return order.memoryLimit === undefined
        ? runCrowd(order)
        : withMemoryLimit({bytes: order.memoryLimit, name: cgroup}, () => runCrowd(order));
    case 'memory': {
      const plugin = order.network.plugins[0]!;
      const ended = finishMeasured(start(commandOf(order, plugin)));
      checkEnd(ended, order.verb, plugin.type);
      keepResult(order, ended.stdout);
      return {privateBytes: ended.privateBytes};
    }
    case 'agentMemory':
      return {privateBytes: agentPid === undefined ? 0 : readPrivateBytes(agentPid)};
  }
}

interface One {
  readonly verb: Verb;
  readonly network: Conflist;
  readonly container: number;
}

function runChain(order: One): Answer {
  const {verb, network} = order;
  const chain = verb === 'VERSION' || verb === 'STATUS' ? network.plugins.slice(0, 1) : network.plugins;
  let [ms, cpuMs] = [0, -agentCpuMs()];
  for (const plugin of verb === 'DEL' ? chain.toReversed() : chain) {
    const ended = finish(start(commandOf(order, plugin)));
    checkEnd(ended, verb, plugin.type);
    if (verb === 'ADD') keepResult(order, ended.stdout);
    ms += ended.ms;
    cpuMs += ended.cpuMs;
  }
  if (verb === 'DEL') results.delete(keyOf(order));
  return {ms, cpuMs: cpuMs + agentCpuMs()};
}

function runCrowd({verb, networks, from, to, width, memoryLimit}: Order & {kind: 'crowd'}): Answer {
  let cpuMs = -agentCpuMs();
  const started = performance.now();
  for (let first = from; first < to; first += width) {
    const orders = Array.from({length: Math.min(width, to - first)}, (_, i) => ({
      verb,
      network: networks[(first + i) % networks.length]!,
      container: first + i,
    }));
    const running = orders.map((order) => start(commandOf(order, order.network.plugins[0]!)));
    if (memoryLimit !== undefined) for (const {pid} of running) exposeToOom(pid);
    const ended = running.map((each) => finish(each));
    for (const [i, each] of ended.entries()) {
      checkEnd(each, verb, orders[i]!.network.plugins[0]!.type);
      if (verb === 'ADD') keepResult(orders[i]!, each.stdout);
      else results.delete(keyOf(orders[i]!));
      cpuMs += each.cpuMs;
    }
  }
  return {ms: performance.now() - started, cpuMs: cpuMs + agentCpuMs()};
}

function commandOf(order: One, plugin: Conflist['plugins'][number]): Command {
  const {verb, network, container} = order;
  const portMappings = [{hostPort: 20_000 + container, containerPort: 80, protocol: 'tcp'}];
  // A runtime gives the result to the plugins of an ADD behind the first, and to all of CHECK and DEL.
  const isFirst = verb === 'ADD' && plugin === network.plugins[0];
  const prevResult = isFirst ? undefined : results.get(keyOf(order));
  const conf = {
    ...configurationOf(network, plugin, {portMappings}),
    ...(prevResult !== undefined && {prevResult}),
  };
  return {
    argv: [path.join(dir, plugin.type)],
    env: {
      ...env,
      CNI_COMMAND: verb,
      CNI_CONTAINERID: `bench-${container}-`.padEnd(64, '0'),
      CNI_NETNS: netnsOf(container),
      CNI_IFNAME: 'eth0',
      CNI_PATH: dir,
    },
    stdin: JSON.stringify(conf),
  };
}

function checkEnd(
  {code, stdout, stderr}: {readonly code: number; readonly stdout: string; readonly stderr: string},
  verb: Verb,
  type: string,
): void {
  if (code !== 0) throw new Error(`${verb} of ${type} in ${dir}: exit ${code}: ${stdout} ${stderr}`);
}

function keepResult(order: One, stdout: string): void {
  if (order.verb === 'ADD') results.set(keyOf(order), JSON.parse(stdout));
}

function keyOf({network, container}: One): string {
  return `${network.name}/${container}`;
}

function netnsOf(container: number): string {
  return `/run/netns/bench-${container}`;
}

/** Processor time of the agent so far, all threads (proc(5): schedstat, nanoseconds). */
function agentCpuMs(): number {
  if (agentPid === undefined) return 0;
  const tasks = `/proc/${agentPid}/task`;
  return readdirSync(tasks).reduce((sum, task) => {
    try {
      const [ns] = readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ');
      return sum + Number(ns) / 1e6;
    } catch {
      // A thread that ended meanwhile.
      return sum;
    }
  }, 0);
}
