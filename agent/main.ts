import {hostname} from 'node:os';
import {join, resolve} from 'node:path';
import {openLog} from '../lib/log.ts';
import type {Logger} from '../lib/log.ts';
import {createHost} from '../lib/host.ts';
import {createAgent, type Agent} from './agent.ts';
import {Catalog} from './catalog/catalog.ts';
import type {PluginCalls} from './cni/calls.ts';
import {cniRow} from './cni/module.ts';
import {defaultConfigFile, readConfig, type AgentConfig} from './config.ts';
import {createMetrics} from './http/metrics.ts';
import {startHttp, type HttpServer} from './http/server.ts';
import {keepLittleGarbage, useCompilers} from './lifecycle/v8.ts';
import {findServiceManager} from './lifecycle/notify.ts';
import {runService} from './lifecycle/run.ts';
import {useThreads} from './lifecycle/threads.ts';
import {modules} from './modules.ts';
import {repairRow} from './repair/module.ts';
import type {Plugins} from './repair/repairs.ts';

/*
 * Entry of the agent's bundle, which is not in the start-up snapshot. cli/main.ts evaluates it for `weft agent`.
 */

export interface AgentOptions {
  /** The usual one if not given, which may be missing. */
  readonly configFile: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly release: {readonly version: string; readonly id: string};
  readonly openCalls: () => PluginCalls;
  readonly plugins: Plugins;
}

/** Reads a configuration as the agent would. Throws ConfigError. */
export function checkConfig(file: string | undefined): void {
  readConfig(file);
}

/** Runs the agent until it is told to end; gives the exit code. Throws for a configuration that cannot work. */
export async function runAgent({
  configFile,
  env,
  release,
  openCalls,
  plugins,
}: AgentOptions): Promise<number> {
  useCompilers();
  keepLittleGarbage();
  useThreads();
  const config = readConfig(configFile);
  const file = configFile === undefined ? undefined : resolve(configFile);
  // What a call or a module makes has the modes it asks for, and no path depends on where the agent was started.
  process.umask(0o022);
  process.chdir('/');
  const log = openLog({level: config.logLevel, ...(config.logFile !== undefined && {file: config.logFile})});
  const host = createHost();
  const metrics = createMetrics(release);
  const agent = createAgent({
    rows: [cniRow(openCalls), ...modules, repairRow(plugins)],
    context: {config, log, host, metrics, node: config.node ?? hostname(), catalog: new Catalog()},
    about: {
      version: release.version,
      build: release.id,
      pid: process.pid,
      startedAt: new Date().toISOString(),
    },
  });
  const ended = Promise.withResolvers<string>();
  const service = createService({agent, config, configFile: file, log, onReplaced: ended.resolve});
  log.info(
    {version: release.version, build: release.id, configFile: file ?? defaultConfigFile},
    'weft agent',
  );
  try {
    return await runService({service, manager: findServiceManager(env), log, ended: ended.promise});
  } finally {
    host.close();
  }
}

interface ServiceOptions {
  readonly agent: Agent;
  readonly config: AgentConfig;
  readonly configFile: string | undefined;
  readonly log: Logger;
  readonly onReplaced: (why: string) => void;
}

/** The agent with its HTTP interface. */
function createService({agent, config, configFile, log, onReplaced}: ServiceOptions) {
  let current = config;
  let http: HttpServer | undefined;
  let isReplaced = false;
  const startInterface = async () => {
    http = await startHttp({
      socketPath: join(current.runDir, 'agent.sock'),
      listen: current.http.listen,
      subject: agent,
      log,
      onReplaced() {
        isReplaced = true;
        onReplaced('another agent has taken over');
      },
    });
  };
  return {
    async start() {
      await agent.start();
      try {
        // Last: from here on an older agent knows that it is not needed any more.
        await startInterface();
      } catch (error) {
        await agent.stop();
        throw error;
      }
    },
    async reload() {
      const next = readConfig(configFile);
      for (const key of ['runDir', 'logLevel', 'logFile'] as const) {
        if (next[key] !== current[key])
          log.warn({key}, 'a change of this key takes effect at the next start');
      }
      const listen = current.http.listen;
      current = {...next, runDir: current.runDir};
      await agent.reload(current);
      if (next.http.listen === listen) return;
      await http?.listen(next.http.listen);
    },
    async stop() {
      // The successor waits for the port; otherwise one may ask why it takes so long.
      if (isReplaced) await http?.close();
      await agent.stop();
      if (!isReplaced) await http?.close();
    },
  };
}
