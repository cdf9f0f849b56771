import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import type {PluginCalls} from './calls.ts';
import {createCniMetrics} from './metrics.ts';
import {CniServer, defaultSocketPath} from './server.ts';

/** The row of the module that serves plugin calls; `openCalls` gives the program's plugins. */
export function cniRow(openCalls: () => PluginCalls): ModuleRow {
  return {
    name: 'cni',
    isWanted: ({cni}) => cni.enabled,
    create: (context) => createCniModule(context, openCalls),
  };
}

function createCniModule({config, log, metrics}: AgentContext, openCalls: () => PluginCalls): AgentModule {
  const path = config.cni.socket ?? defaultSocketPath(config.runDir);
  const calls = openCalls();
  const server: CniServer = new CniServer({
    path,
    calls,
    maxCalls: config.cni.maxCalls,
    log,
    metrics: createCniMetrics(metrics, () => server.size),
  });
  return {
    name: 'cni',
    start: () => server.start(),
    async stop() {
      await server.stop();
      calls.close();
    },
    notReady: () => [],
    status: () => ({socket: path, running: server.size}),
  };
}
