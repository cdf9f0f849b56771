import {startupSnapshot} from 'node:v8';
import {plugins} from 'weft:plugins';
import {release} from 'weft:release';
import {shared} from 'weft:shared';
import {describeFailure, formatFailure} from '../lib/cni/failure.ts';
import {CniError, errorCodes} from '../lib/cni/error.ts';
import type {Plugin} from '../lib/cni/plugin.ts';
import {runPlugin, type PluginIo} from '../lib/cni/skel.ts';
import {processIo, writeAll} from '../lib/cni/stdio.ts';
import {createHost, type Host} from '../lib/host.ts';
import {exitNow} from '../lib/netns/native.ts';
import {basename} from 'node:path';
import {isOwnFile} from './builtin.ts';
import type {AgentProgram, Assets} from './command.ts';
import {dropNodeVariables} from './environment.ts';
import {hostThatPauses, type Pause} from './host-that-pauses.ts';
import {type Invocation, parseInvocation} from './invocation.ts';
import {formatTrailer} from './release.ts';
import {loadAgent, loadTools} from './load-tools.ts';

/*
 * What the executable starts with. Everything imported here, and evaluated by it, is in the start-up snapshot: it was
 * evaluated once, on the machine that built it. Only `main` runs in each process.
 */
dropNodeVariables();
startupSnapshot.setDeserializeMainFunction(main);

function main(): void {
  const invocation = parseInvocation(process.argv, plugins);
  run(invocation).then(invocation.kind === 'plugin' ? exitNow : exit, (error: unknown) =>
    fail(invocation, error),
  );
  // Nothing left to wait for, and no answer: without this the process would end with success and no result.
  process.once('beforeExit', () => fail(invocation, new Error('weft stopped in the middle of its work')));
  process.once('uncaughtException', (error) => fail(invocation, error));
}

function run(invocation: Invocation): Promise<number> {
  switch (invocation.kind) {
    case 'plugin':
      return callPlugin(invocation.name, processIo(process.env), createHost());
    case 'cnitool':
      return loadTools(shared).cnitool(invocation.args, processIo(process.env));
    case 'weft':
      return callWeft(invocation.args);
  }
}

async function callWeft(args: readonly string[]): Promise<number> {
  // One after the other, whatever the tool does meanwhile; a reader that went away stops nothing.
  let written = Promise.resolve();
  const print = (fd: number) => (line: string) => {
    written = written.then(() => writeAll(fd, `${line}\n`)).catch(() => {});
  };
  const context = {
    args,
    env: process.env,
    release,
    program: process.execPath,
    plugins: [...plugins.keys()],
    assets,
    agent,
    out: print(1),
    err: print(2),
  };
  const code = await loadTools(shared).weft(context);
  await written;
  return code;
}

const assets: Assets = {
  list: () => process.getBuiltinModule('node:sea').getAssetKeys(),
  read: (key) => process.getBuiltinModule('node:sea').getAsset(key, 'utf8'),
  readBytes: (key) => Buffer.from(process.getBuiltinModule('node:sea').getRawAsset(key)),
};

/** The agent, with the plugins of the snapshot: their code is there once, and the same that a process of its own runs. */
const agent = (): AgentProgram => {
  const {runAgent, checkConfig} = loadAgent();
  return {
    check: checkConfig,
    run: (options) =>
      runAgent({...options, release, openCalls, plugins: {byName: plugins, openHost: createHost}}),
  };
};

function openCalls() {
  const host = createHost({manyCalls: true});
  return {
    trailer: formatTrailer(release),
    has: (name: string) => plugins.has(name),
    call: (name: string, io: PluginIo, pause: Pause) =>
      callPlugin(name, io, hostThatPauses(host, pause)).catch(async (error: unknown) => {
        await io.stdout(formatFailure(error)).catch(() => {});
        return 1;
      }),
    close: () => host.close(),
  };
}

async function callPlugin(name: string, io: PluginIo, host: Host): Promise<number> {
  const plugin = plugins.get(name);
  if (plugin === undefined) {
    throw new CniError(
      errorCodes.internal,
      `weft ${release.version} has no plugin ${JSON.stringify(name)}`,
      `it has ${[...plugins.keys()].join(', ')}; \`weft install\` writes their files anew`,
    );
  }
  const own = {program: process.execPath, trailer: formatTrailer(release)};
  const findBuiltin = (file: string): Plugin<Host> | undefined =>
    isOwnFile(file, own) ? plugins.get(basename(file)) : undefined;
  return runPlugin(plugin, io, host, findBuiltin);
}

const exit = (code: number): never => process.exit(code);

/** The last resort: an answer in the form that the caller understands, whatever happened. */
function fail({kind}: Invocation, error: unknown): void {
  const answer =
    kind === 'plugin' ? writeAll(1, formatFailure(error)) : writeAll(2, `weft: ${describeFailure(error)}\n`);
  void answer.finally(() => process.exit(1)).catch(() => {});
}
