import {hostname} from 'node:os';
import path from 'node:path';
import {isDeepStrictEqual} from 'node:util';
import type {AgentConfig} from '../config.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import type {OverlayConf, OverlayNetworkConf} from './conf.ts';
import {KernelWatch, type KernelListener} from './kernel-watch.ts';
import {createOverlayMetrics, forgetNetwork} from './metrics.ts';
import {OverlayNetworkAgent} from './network.ts';

interface Running {
  readonly conf: OverlayNetworkConf;
  readonly agent: OverlayNetworkAgent;
}

/** The overlay networks of this host, each with a loop of its own. */
export function createOverlayModule(context: AgentContext): AgentModule {
  const {host, log} = context;
  const metrics = createOverlayMetrics(context.metrics);
  let config = context.config;
  const running = new Map<string, Running>();
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

  /** Begins nothing yet. Throws for a configuration that can never work. */
  function makeNetwork(conf: OverlayNetworkConf, overlay: OverlayConf, runDir: string): OverlayNetworkAgent {
    const agent: OverlayNetworkAgent = new OverlayNetworkAgent({
      conf,
      overlay,
      node: overlay.node ?? hostname(),
      host,
      log,
      metrics,
      runDir: path.join(runDir, 'overlay'),
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
    return agent;
  }

  /** Those of `confs` that are not there as they shall be. When one throws, none is left. */
  async function makeNetworks(
    confs: readonly OverlayNetworkConf[],
    {overlay, runDir}: {readonly overlay: OverlayConf; readonly runDir: string},
  ): Promise<ReadonlyMap<string, Running>> {
    const made = new Map<string, Running>();
    try {
      for (const conf of confs) made.set(conf.name, {conf, agent: makeNetwork(conf, overlay, runDir)});
    } catch (error) {
      await Promise.all([...made.values()].map(({agent}) => agent.stop()));
      throw error;
    }
    return made;
  }

  function startNetworks(made: ReadonlyMap<string, Running>): void {
    for (const [name, network] of made) {
      running.set(name, network);
      network.agent.start();
    }
  }

  /** As the configuration has them. */
  function inOrder(networks: readonly OverlayNetworkConf[]): void {
    const all = new Map(running);
    running.clear();
    for (const {name} of networks) running.set(name, all.get(name)!);
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
      const made = await makeNetworks(overlay.networks, {overlay, runDir: config.runDir});
      watchKernel();
      startNetworks(made);
    },
    async stop() {
      watch?.close();
      watch = undefined;
      await Promise.all([...running.keys()].map(stopNetwork));
    },
    async reload(next: AgentConfig) {
      const before = section();
      const overlay = next.overlay;
      const networks = overlay?.networks ?? [];
      const isShared = before && overlay && isDeepStrictEqual(shared(before), shared(overlay));
      // The membership's part holds functions: its keys are compared as they were written.
      const isKept = (conf: OverlayNetworkConf) =>
        isShared && isDeepStrictEqual(withoutFunctions(running.get(conf.name)?.conf), withoutFunctions(conf));
      const kept = new Set(networks.filter(isKept).map(({name}) => name));
      // Before anything ends: what cannot be made must not take the place of what works.
      const made = overlay
        ? await makeNetworks(
            networks.filter(({name}) => !kept.has(name)),
            {overlay, runDir: next.runDir},
          )
        : new Map<string, Running>();
      config = next;
      watchKernel();
      for (const name of running.keys()) {
        if (kept.has(name)) continue;
        await stopNetwork(name);
        if (!made.has(name)) await forgetNetwork(metrics, name);
      }
      for (const {agent} of running.values()) agent.reload();
      startNetworks(made);
      inOrder(networks);
    },
    async reconcile() {
      await Promise.all(agents().map((agent) => agent.reconcile()));
    },
    notReady: () => agents().flatMap((agent) => agent.notReady()),
    status: () => ({node: section()?.node ?? hostname(), networks: agents().map((agent) => agent.status())}),
  };
}

function withoutFunctions(value: unknown): unknown {
  if (value === undefined) return undefined;
  return JSON.parse(
    JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? String(each) : each)),
  );
}
