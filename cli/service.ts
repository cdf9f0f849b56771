import {join} from 'node:path';
import {parseArgs} from 'node:util';
import {callSocket, defaultRunDir, type AgentAnswer, type AgentRequest} from './agent-api.ts';
import {UsageError, type Command, type Context} from './command.ts';
import {formatTable} from './table.ts';

/** `weft service` */
export const service: Command = {
  summary: 'say what answers for a service, give it an address, list and watch',
  usage: `weft service <verb> [options]

  register NAME --address IP --port N   an instance answers for the service
      --id ID                           tells it from others on this host (default: the name)
      --protocol tcp|udp|sctp           (default tcp)
      --network NET                     whose containers see it (default: the network of the address)
      --tag TAG, --meta KEY=VALUE       any number of each
      --weight N                        its share of connections, where weights count (default 1)
      --check-tcp HOST:PORT | --check-http URL | --check-grpc HOST:PORT[/SERVICE] | --ttl TIME
      --interval TIME                   how often it is looked at (default 10s); --timeout TIME (default 10s)
      --deregister-after TIME           critical for so long, and it is forgotten
  deregister ID                         it does no longer
  drain ID [--off]                      no new connections; those there are go on
  pass | warn | fail CHECK [--note TEXT]  a heartbeat
  expose NAME --port PORT[:TARGET][/PROTOCOL]   the service gets an address of its own; any number of ports
      --address auto|none|IP            (default auto: of the ranges of the agent's configuration)
      --policy roundRobin|random|weighted|sourceHash|leastLatency
      --sticky SECONDS                  a client stays with its instance
      --limit N, --limit-per-source N   new connections per second
      --source RANGE                    who may connect; any number
      --network NET
  hide NAME                             the address is taken away
  list [--json]                         services, their addresses and instances, on all hosts
  watch                                 the same again after every change, until interrupted

  --namespace NS                        (default "default")
  --run-dir DIR                         where the agent has its sockets (default ${defaultRunDir})`,
  async run(context) {
    const [verb, ...args] = context.args;
    const run = verb === undefined || !Object.hasOwn(verbs, verb) ? undefined : verbs[verb];
    if (run === undefined) throw new UsageError(`it takes one of ${Object.keys(verbs).join(', ')}`);
    return run({...context, args});
  },
};

const common = {
  namespace: {type: 'string', default: 'default'},
  'run-dir': {type: 'string', default: defaultRunDir},
} as const;

const verbs: Readonly<Record<string, (context: Context) => Promise<number>>> = {
  register,
  deregister: async ({args}) => {
    const {values, name} = parseOne(args, {...common});
    const path = `/v1/agent/service/deregister/${encodeURIComponent(name)}?ns=${values.namespace}`;
    return done(await call(values, path, {method: 'PUT'}));
  },
  drain: async ({args}) => {
    const {values, name} = parseOne(args, {...common, off: {type: 'boolean', default: false}});
    const path = `/v1/agent/service/drain/${encodeURIComponent(name)}?ns=${values.namespace}&enable=${!values.off}`;
    return done(await call(values, path, {method: 'PUT'}));
  },
  pass: (context) => beat('pass', context),
  warn: (context) => beat('warn', context),
  fail: (context) => beat('fail', context),
  expose,
  hide: async ({args}) => {
    const {values, name} = parseOne(args, {...common});
    return done(await call(values, servicePath(values.namespace, name), {method: 'DELETE'}));
  },
  list,
  watch,
};

async function register({args}: Context): Promise<number> {
  const text = {type: 'string'} as const;
  const {values, name} = parseOne(args, {
    ...common,
    address: text,
    port: text,
    id: text,
    protocol: text,
    network: text,
    tag: {type: 'string', multiple: true},
    meta: {type: 'string', multiple: true},
    weight: text,
    'check-tcp': text,
    'check-http': text,
    'check-grpc': text,
    ttl: text,
    interval: {type: 'string', default: '10s'},
    timeout: text,
    'deregister-after': text,
  });
  const check = {
    TCP: values['check-tcp'],
    HTTP: values['check-http'],
    GRPC: values['check-grpc'],
    TTL: values.ttl,
    Interval: values.interval,
    Timeout: values.timeout,
    DeregisterCriticalServiceAfter: values['deregister-after'],
  };
  const isChecked = [check.TCP, check.HTTP, check.GRPC, check.TTL].some((each) => each !== undefined);
  const body = {
    Name: name,
    ID: values.id,
    Namespace: values.namespace,
    Address: values.address,
    Port: values.port === undefined ? undefined : readNumber('--port', values.port),
    Protocol: values.protocol,
    Network: values.network,
    Tags: values.tag,
    Meta: values.meta && Object.fromEntries(values.meta.map(readPair)),
    Weights: values.weight === undefined ? undefined : {Passing: readNumber('--weight', values.weight)},
    Check: isChecked ? check : undefined,
  };
  return done(await call(values, '/v1/agent/service/register', {method: 'PUT', body}));
}

async function expose({args, out}: Context): Promise<number> {
  const text = {type: 'string'} as const;
  const {values, name} = parseOne(args, {
    ...common,
    port: {type: 'string', multiple: true},
    address: text,
    policy: text,
    sticky: text,
    limit: text,
    'limit-per-source': text,
    source: {type: 'string', multiple: true},
    network: text,
  });
  const number = (key: string, value: string | undefined) =>
    value === undefined ? undefined : readNumber(key, value);
  const body = {
    ports: (values.port ?? []).map(readPort),
    address: values.address,
    policy: values.policy,
    stickySeconds: number('--sticky', values.sticky),
    limit: number('--limit', values.limit),
    limitPerSource: number('--limit-per-source', values['limit-per-source']),
    sourceRanges: values.source,
    network: values.network,
  };
  const answer = await call(values, servicePath(values.namespace, name), {method: 'PUT', body});
  const {addresses} = JSON.parse(answer.text) as {addresses: string[]};
  out(addresses.join(' '));
  return 0;
}

async function beat(word: string, {args}: Context): Promise<number> {
  const {values, name} = parseOne(args, {...common, note: {type: 'string', default: ''}});
  const path = `/v1/agent/check/${word}/${encodeURIComponent(name)}?note=${encodeURIComponent(values.note)}`;
  return done(await call(values, path, {method: 'PUT'}));
}

interface Shown {
  readonly namespace: string;
  readonly name: string;
  readonly addresses: readonly string[];
  readonly policy: string;
  readonly instances: readonly {
    readonly id: string;
    readonly node: string;
    readonly address: string;
    readonly port: number;
    readonly health: string;
    readonly draining: boolean;
  }[];
}

async function list({args, out}: Context): Promise<number> {
  const {values} = parseArgs({
    args: [...args],
    options: {...common, json: {type: 'boolean', default: false}},
  });
  const {text} = await call(values, '/v1/services');
  const instances = (await call(values, '/v1/agent/instances')).text;
  const shown = {services: JSON.parse(text) as unknown, instances: JSON.parse(instances) as unknown};
  if (values.json) out(JSON.stringify(shown, undefined, 2));
  else
    for (const line of describe(JSON.parse(text) as Shown[], JSON.parse(instances) as Instance[])) out(line);
  return 0;
}

async function watch({args, out}: Context): Promise<number> {
  const {values} = parseArgs({args: [...args], options: {...common}});
  for (let index = '0'; ;) {
    const answer = await call(values, `/v1/services?index=${index}&wait=60s`, {timeoutMs: 90_000});
    const next = String(answer.headers['x-consul-index'] ?? '0');
    if (next === index) continue;
    index = next;
    const instances = JSON.parse((await call(values, '/v1/agent/instances')).text) as Instance[];
    out(`# ${new Date().toISOString()}`);
    for (const line of describe(JSON.parse(answer.text) as Shown[], instances)) out(line);
  }
}

interface Instance {
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
  readonly node: string;
  readonly address: string;
  readonly port: number;
  readonly health: string;
  readonly draining: boolean;
}

function describe(services: readonly Shown[], instances: readonly Instance[]): string[] {
  const addressesOf = new Map(
    services.map(({namespace, name, addresses}) => [`${namespace}/${name}`, addresses]),
  );
  const named = instances.map((each) => ({...each, service: `${each.namespace}/${each.name}`}));
  const empty = [...addressesOf.keys()].filter((key) => !named.some(({service}) => service === key));
  if (named.length + empty.length === 0) return ['there is no service'];
  return formatTable([
    ['SERVICE', 'ADDRESS', 'INSTANCE', 'NODE', 'AT', 'HEALTH'],
    ...named.map(({service, id, node, address, port, health, draining}) => [
      service,
      addressesOf.get(service)?.join(' ') || '-',
      id,
      node,
      `${address.includes(':') ? `[${address}]` : address}:${port}`,
      draining ? `${health}, draining` : health,
    ]),
    ...empty.map((key) => [key, addressesOf.get(key)!.join(' ') || '-', '-', '-', '-', '-']),
  ]);
}

type Values = {readonly 'run-dir': string};

/** Asks the registry; throws its sentence for every answer but success. */
async function call(values: Values, path: string, request: AgentRequest = {}): Promise<AgentAnswer> {
  const socket = join(values['run-dir'], 'registry.sock');
  const answer = await callSocket(socket, path, request);
  if (answer === undefined)
    throw new Error(`no agent has its registry at ${socket}: systemctl start weft-agent`);
  if (answer.code >= 300) throw new Error(answer.text.trim());
  return answer;
}

function done(_answer: AgentAnswer): number {
  return 0;
}

function servicePath(namespace: string, name: string): string {
  return `/v1/services/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}`;
}

type Options = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>['options']>;

function parseOne<O extends Options>(args: readonly string[], options: O) {
  const {values, positionals} = parseArgs({args: [...args], options, allowPositionals: true});
  const [name, ...more] = positionals;
  if (name === undefined || more.length > 0) throw new UsageError('it takes one name');
  return {values, name};
}

function readNumber(option: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new UsageError(`${option}: "${text}" is no number`);
  return Number(text);
}

function readPair(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at <= 0) throw new UsageError(`--meta: "${text}": expected KEY=VALUE`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function readPort(text: string) {
  const [, port, target, protocol] = /^(\d+)(?::(\d+))?(?:\/(tcp|udp|sctp))?$/.exec(text) ?? [];
  if (port === undefined)
    throw new UsageError(`--port: "${text}": expected PORT, PORT:TARGET or PORT:TARGET/PROTOCOL`);
  return {
    port: Number(port),
    ...(target !== undefined && {targetPort: Number(target)}),
    protocol: protocol ?? 'tcp',
  };
}
