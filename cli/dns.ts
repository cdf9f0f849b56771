import {parseArgs} from 'node:util';
import {defaultRunDir, askAgent} from './agent-api.ts';
import {UsageError, type Command} from './command.ts';

/** `weft dns` */
export const dns: Command = {
  summary: "ask the agent's DNS server for a name, as a container would",
  usage: `weft dns query NAME [TYPE] [options]

  TYPE           A (default), AAAA, PTR, SRV, TXT, SOA, NS or ANY; for an address, its name
  --server IP    which of the agent's addresses is asked (default: each of them)
  --run-dir DIR  where the agent has its sockets (default ${defaultRunDir})

The host sees the names of the network that has the address, and services of no network.`,
  async run({args, out}) {
    const {values, positionals} = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {server: {type: 'string'}, 'run-dir': {type: 'string', default: defaultRunDir}},
    });
    const [verb, name, type = 'A', ...more] = positionals;
    if (verb !== 'query' || name === undefined || more.length > 0) {
      throw new UsageError('it takes "query", a name, and a type of records');
    }
    const servers = values.server === undefined ? await listServers(values['run-dir']) : [values.server];
    if (servers.length === 0) throw new Error('the agent listens nowhere: no container has a name');
    let found = 0;
    for (const server of servers) {
      const answers = await resolve(server, name, type.toUpperCase());
      found += answers.length;
      for (const answer of answers) out(servers.length > 1 ? `${server}: ${answer}` : answer);
    }
    return found > 0 ? 0 : 1;
  },
};

async function listServers(runDir: string): Promise<readonly string[]> {
  const answer = await askAgent('/status', {runDir});
  if (answer === undefined) throw new Error(`no agent runs (there is no socket in ${runDir})`);
  const {modules} = JSON.parse(answer.text) as {
    modules: {names?: {listening: {address: string; port?: number}[]}};
  };
  return (modules.names?.listening ?? []).flatMap(({address, port}) =>
    port === undefined
      ? []
      : [port === 53 ? address : `${address.includes(':') ? `[${address}]` : address}:${port}`],
  );
}

const notFound: ReadonlySet<string | undefined> = new Set(['ENOTFOUND', 'ENODATA']);

async function resolve(server: string, name: string, type: string): Promise<readonly string[]> {
  const {promises} = process.getBuiltinModule('node:dns');
  const resolver = new promises.Resolver({timeout: 2000, tries: 2});
  resolver.setServers([server]);
  try {
    const isAddress = type === 'PTR' && process.getBuiltinModule('node:net').isIP(name) !== 0;
    const found: unknown = isAddress ? await resolver.reverse(name) : await resolver.resolve(name, type);
    const list = Array.isArray(found) ? (found as unknown[]) : [found];
    return list.map((each) => (typeof each === 'string' ? each : JSON.stringify(each)));
  } catch (error) {
    if (notFound.has((error as NodeJS.ErrnoException).code)) return [];
    throw new Error(`${server} does not answer for ${name}: ${(error as Error).message}`);
  }
}
