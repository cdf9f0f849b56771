import {hostname} from 'node:os';
import path from 'node:path';
import {isDeepStrictEqual} from 'node:util';
import type {AgentConfig} from '../config.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import type {OverlayConf, OverlayNetworkConf} from './conf.ts';
import {KernelWatch, type KernelListener} from './kernel-watch.ts';
import {createOverlayMetrics} from './metrics.ts';
import {OverlayNetworkAgent} from './network.ts';

/** The overlay networks of this host, each with a loop of its own. */
export function createOverlayModule(context: AgentContext): AgentModule {
  const {host, log} = context;
  const metrics = createOverlayMetrics(context.metrics);
  let config = context.config;
  const running = new Map<string, {readonly conf: OverlayNetworkConf; readonly agent: OverlayNetworkAgent}>();
  let watch: KernelWatch | undefined;

  const agents = () => [...running.values()].map(({agent}) => agent);
  const all: KernelListener = {
    onLink: (link) => agents().forEach((agent) => agent.onLink(link)),
    onAddress: (ifindex) => agents().forEach((agent) => agent.onAddress(ifindex)),
    onEntry: (reply) => agents().forEach((agent) => agent.onEntry(reply)),
    onDefaultRoute: () => agents().forEach((agent) => agent.onDefaultRoute()),
    onFirewall: (table) => agents().forEach((agent) => agent.onFirewall(table)),
    onLost: () => agents().forEach((agent) => agent.onLost()),
  };

  function section(): OverlayConf | undefined {
    return config.overlay;
  }

  function watchKernel(): void {
    const wanted = section()?.monitor ?? false;
    if (wanted === (watch !== undefined)) return;
    watch?.close();
    watch = wanted
      ? new KernelWatch(all, {log, onOverrun: () => metrics.enobufs.inc({network: ''})})
      : undefined;
  }

  function eldersOf(name: string): readonly OverlayNetwork[] {
    const names = section()?.networks.map((network) => network.name) ?? [];
    const elders = names.slice(0, Math.max(0, names.indexOf(name)));
    return elders
      .map((elder) => running.get(elder)?.agent.network)
      .filter((network) => network !== undefined);
  }

  function startNetwork(conf: OverlayNetworkConf, overlay: OverlayConf): void {
    const agent = new OverlayNetworkAgent({
      conf,
      overlay,
      node: overlay.node ?? hostname(),
      host,
      log,
      metrics,
      runDir: path.join(config.runDir, 'overlay'),
      neighbours: () =>
        agents()
          .filter((each) => each !== agent && each.network)
          .map((each) => each.network!),
      elders: () => eldersOf(conf.name),
      quietly: (work) => (watch ? watch.quietly(work) : work()),
      onNetwork: () =>
        agents()
          .filter((each) => each !== agent)
          .forEach((each) => each.onNeighbours()),
    });
    running.set(conf.name, {conf, agent});
    agent.start();
  }

  async function stopNetwork(name: string): Promise<void> {
    const agent = running.get(name)?.agent;
    running.delete(name);
    await agent?.stop();
  }

  /** Whatever is not of one network concerns all of them. */
  const shared = (overlay: OverlayConf) => ({...overlay, networks: undefined, monitor: undefined});

  return {
    name: 'overlay',
    async start() {
      const overlay = section();
      if (!overlay) return;
      checkNetworks(overlay);
      watchKernel();
      for (const conf of overlay.networks) startNetwork(conf, overlay);
    },
    async stop() {
      watch?.close();
      watch = undefined;
      await Promise.all([...running.keys()].map(stopNetwork));
    },
    async reload(next: AgentConfig) {
      const before = section();
      const overlay = next.overlay;
      if (overlay) checkNetworks(overlay);
      config = next;
      watchKernel();
      const isShared = before && overlay && isDeepStrictEqual(shared(before), shared(overlay));
      for (const [name, {conf}] of running) {
        const wanted = overlay?.networks.find((each) => each.name === name);
        // The membership's part holds functions: its keys are compared as they were written.
        if (!isShared || !wanted || !isDeepStrictEqual(withoutFunctions(conf), withoutFunctions(wanted)))
          await stopNetwork(name);
      }
      for (const conf of overlay?.networks ?? []) {
        const agent = running.get(conf.name)?.agent;
        if (agent) agent.reload();
        else if (overlay) startNetwork(conf, overlay);
      }
    },
    async reconcile() {
      await Promise.all(agents().map((agent) => agent.reconcile()));
    },
    notReady: () => agents().flatMap((agent) => agent.notReady()),
    status: () => ({node: section()?.node ?? hostname(), networks: agents().map((agent) => agent.status())}),
  };
}

function withoutFunctions(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)),
  );
}

/** What the shape of the section cannot say. Throws. */
function checkNetworks({networks}: OverlayConf): void {
  for (const key of ['name', 'subnetFile'] as const) {
    const seen = new Set<string>();
    for (const network of networks) {
      if (seen.has(network[key]))
        throw new Error(`overlay.networks: two have the ${key} ${network[key]}; give each its own`);
      seen.add(network[key]);
    }
  }
}
