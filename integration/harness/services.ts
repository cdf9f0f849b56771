import type {ChildProcess} from 'node:child_process';
import {createInterface, type Interface} from 'node:readline';
import type {ServiceDefinition, ServiceInstance} from '../../agent/catalog/model.ts';
import type {TestHost} from './host.ts';
import {repository} from './paths.ts';

const driver = `${repository}/integration/in-process/services-driver.ts`;

export interface Figures {
  readonly ms: number;
  readonly transactions: number;
  readonly notReady: readonly string[];
}

/** The agent's module `services` on a test host. */
export interface ServicesDriver {
  readonly child: ChildProcess;
  /** Makes these all services and instances there are, and returns when the rules are changed. */
  set(services: readonly ServiceDefinition[], instances: readonly ServiceInstance[]): Promise<Figures>;
  reconcile(): Promise<Figures>;
}

export async function startServices(host: TestHost, conf: object = {}): Promise<ServicesDriver> {
  const argv = [process.execPath, '--no-warnings', driver, JSON.stringify({debounceMs: 1, ...conf})];
  const child = host.start(argv, {stdin: 'pipe'});
  const lines = createInterface({input: child.stdout!});
  await nextLine(lines, child);
  const send = async (order: unknown): Promise<Figures> => {
    const answer = nextLine(lines, child);
    child.stdin!.write(`${JSON.stringify(order)}\n`);
    return JSON.parse(await answer) as Figures;
  };
  return {
    child,
    set: (services, instances) => send({services, instances}),
    reconcile: () => send('reconcile'),
  };
}

function nextLine(lines: Interface, child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (code: number | null) => reject(new Error(`the driver ended with ${code}`));
    child.once('close', failed);
    lines.once('line', (line) => {
      child.off('close', failed);
      resolve(line);
    });
  });
}

/** A service named `shop` with an address, whose port 80 leads to the instances' 8080. */
export function makeService(more: Partial<ServiceDefinition> = {}): ServiceDefinition {
  const {namespace = 'default', name = 'shop'} = more;
  return {
    key: `${namespace}/${name}`,
    namespace,
    name,
    addresses: ['10.96.0.7'],
    ports: [
      {protocol: 'tcp', port: 80, targetPort: 8080},
      {protocol: 'udp', port: 80, targetPort: 8080},
    ],
    policy: 'roundRobin',
    stickySeconds: 0,
    ttl: 5,
    ...more,
  };
}

export function makeInstance(
  id: string,
  address: string,
  more: Partial<ServiceInstance> = {},
): ServiceInstance {
  const {namespace = 'default', name = 'shop'} = more;
  return {
    key: `${namespace}/${id}@node-a`,
    node: 'node-a',
    namespace,
    name,
    id,
    address,
    port: 8080,
    protocol: 'tcp',
    tags: [],
    meta: {},
    weight: 1,
    health: 'passing',
    draining: false,
    ...more,
  };
}
