import {join} from 'node:path';
import {Gauge} from 'prom-client';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {defaultServiceRanges} from '../catalog/ranges.ts';
import {parseListen} from '../fields.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import {consulRoutes} from './api/consul.ts';
import {Router} from './api/router.ts';
import {ApiServer} from './api/server.ts';
import {serviceRoutes} from './api/services.ts';
import {defaultRegistry, type RegistryConf} from './conf.ts';
import {Registry} from './registry.ts';

/** On unless the configuration says otherwise: without registrations it does nothing. */
export const registryRow: ModuleRow = {
  name: 'registry',
  isWanted: ({registry}) => registry?.enabled ?? true,
  create: (context) => createRegistry(context, context.config.registry ?? defaultRegistry()),
};

/** The module `registry`: who answers for services on this host, looked after, and asked for over HTTP. */
function createRegistry(
  {catalog, config, log, metrics, node}: AgentContext,
  conf: RegistryConf,
): AgentModule {
  const ranges = config.services?.ranges ?? defaultServiceRanges;
  const registry = new Registry({
    node,
    catalog,
    log,
    dir: conf.dir,
    stateDir: join(config.runDir, 'registry'),
    ranges: ranges.map((text) => parseCidr(text)).filter((cidr) => cidr !== undefined),
  });
  const routes = {
    ...consulRoutes({registry, catalog, node, address: conf.address, version: '1.0.0'}),
    ...serviceRoutes({registry, catalog}),
  };
  const server = new ApiServer(new Router(routes), log);
  const gauge = new Gauge({
    name: 'weft_registry_instances',
    help: 'Registered instances of services on this host, by health',
    labelNames: ['health'],
    registers: [metrics],
    collect() {
      for (const health of ['passing', 'warning', 'critical']) {
        this.set({health}, catalog.instances.list('local').filter((each) => each.health === health).length);
      }
    },
  });
  return {
    name: 'registry',
    async start() {
      registry.start({reapMs: conf.reapMs});
      const {tls} = conf;
      await server.listen({
        path: conf.socket ?? join(config.runDir, 'registry.sock'),
        tls: tls && {...tls, ...parseListen(tls.listen)!},
      });
    },
    async stop() {
      registry.stop();
      gauge.reset();
      await server.close();
    },
    notReady: () => [],
    status: () => ({
      instances: catalog.instances.list().map(({namespace, name, id, node: on, address, port, health}) => ({
        namespace,
        name,
        id,
        node: on,
        address,
        port,
        health,
      })),
    }),
  };
}
