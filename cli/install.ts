import {chmodSync, mkdirSync, rmSync} from 'node:fs';
import {isAbsolute, join, resolve} from 'node:path';
import {parseArgs} from 'node:util';
import {type Command, type Context, UsageError} from './command.ts';
import {defaultSocket, makeClient} from './installation/client.ts';
import {getConf, hashOf, isForeignConf, putConf, type Conf} from './installation/conf.ts';
import {lookAt} from './installation/files.ts';
import {checkHost} from './installation/host-checks.ts';
import {readHostFacts} from './installation/host-facts.ts';
import {fileNames, isTool, layoutOf, versionDir, type Layout} from './installation/layout.ts';
import {lockInstallation} from './installation/lock.ts';
import {programSize} from './installation/program.ts';
import {findInstalled, type Installed} from './installation/state.ts';
import {upgrade} from './installation/upgrade.ts';
import {formatTrailer} from './release.ts';
import {formatStub} from './stub.ts';

interface Options {
  readonly binDir: string;
  readonly hostBinDir: string;
  readonly confDir: string;
  readonly conf: string | undefined;
  readonly force: boolean;
  /** Whether the plugins' files are native clients; undefined: as they are now. */
  readonly client: boolean | undefined;
  readonly clientSocket: string | undefined;
}

/** `weft install` */
export const install: Command = {
  summary: 'put the plugins into a plugin folder, or upgrade them',
  usage: `weft install [options]

  --bin-dir DIR        the plugin folder (default /opt/cni/bin)
  --host-bin-dir DIR   how the host calls that folder, when installing from a container
  --conf NAME          also put a ready network configuration: kubernetes, podman, dual-stack, ports,
                       firewall, bandwidth, ptp, static or sbr
  --conf-dir DIR       where to (default /etc/cni/net.d)
  --force              replace files that are not weft's; \`weft uninstall\` puts them back
  --client             put the native client of \`weft agent\` under the plugins' names. It runs the plugin itself
                       wherever the agent cannot. An upgrade keeps it; --no-client goes back to stubs
  --client-socket PATH where the agent listens for it (default ${defaultSocket})

Nothing is changed unless the host passes the checks. An upgrade keeps the previous version until the new one
has answered.`,
  async run(context) {
    const options = parseOptions(context.args);
    const conf = options.conf === undefined ? undefined : getConf(options.conf, {...options, ...context});
    const program = join(versionDir(layoutOf(options.hostBinDir), context.release.version), 'weft');
    const trailer = formatTrailer(context.release);
    const stub = Buffer.from(formatStub({program, trailer}));
    await refuseUnfitHost(context, options);

    const layout = layoutOf(options.binDir);
    makeFolders(layout);
    using _lock = lockInstallation(layout);
    const before = findInstalled(layout);
    try {
      const client = clientAfter(before, options);
      const file =
        client === undefined ? stub : makeClient(getTemplate(context), {...client, program, trailer});
      refuseForeign({layout, context, options, conf, before});
      await upgrade({
        layout,
        context,
        contentOf: (name) => (isTool(name) ? stub : file),
        client,
        hostBinDir: options.hostBinDir,
        before,
        confs: confsAfter(before, conf),
      });
      if (conf !== undefined) putConf(conf, layout);
      report({context, options, conf, before, client});
    } catch (error) {
      // What a first installation that failed leaves would look like an installation.
      if (findInstalled(layout) === undefined) rmSync(layout.home, {recursive: true, force: true});
      throw error;
    }
    return 0;
  },
};

/** Open to all whatever the umask: runtimes of other users execute what is in there. */
function makeFolders({binDir, home}: Layout): void {
  for (const folder of [binDir, home]) {
    if (mkdirSync(folder, {recursive: true}) !== undefined) chmodSync(folder, 0o755);
  }
}

function parseOptions(args: readonly string[]): Options {
  const {values} = parseArgs({
    args: [...args],
    options: {
      'bin-dir': {type: 'string', default: '/opt/cni/bin'},
      'host-bin-dir': {type: 'string'},
      conf: {type: 'string'},
      'conf-dir': {type: 'string', default: '/etc/cni/net.d'},
      force: {type: 'boolean', default: false},
      client: {type: 'boolean'},
      'client-socket': {type: 'string'},
    },
    allowNegative: true,
  });
  for (const key of ['bin-dir', 'host-bin-dir', 'conf-dir', 'client-socket'] as const) {
    const value = values[key];
    if (value !== undefined && !isAbsolute(value)) {
      throw new UsageError(`--${key}: ${JSON.stringify(value)} is not an absolute path`);
    }
  }
  if (values.client === false && values['client-socket'] !== undefined) {
    throw new UsageError('--client-socket says where clients look, --no-client that there are none');
  }
  const binDir = resolve(values['bin-dir']);
  return {
    binDir,
    hostBinDir: resolve(values['host-bin-dir'] ?? binDir),
    confDir: resolve(values['conf-dir']),
    conf: values.conf,
    force: values.force,
    client: values.client ?? (values['client-socket'] === undefined ? undefined : true),
    clientSocket: values['client-socket'],
  };
}

/** What kind of file there will be: as asked for, else as it is. */
function clientAfter(before: Installed | undefined, options: Options): Installed['client'] {
  const isWanted = options.client ?? before?.client !== undefined;
  return isWanted ? {socket: options.clientSocket ?? before?.client?.socket ?? defaultSocket} : undefined;
}

function getTemplate({assets, release}: Context): Buffer {
  if (assets.list().includes('weft-client')) return assets.readBytes('weft-client');
  throw new Error(
    `weft ${release.version} was built without its native client (there was no C compiler): take one that was built with it, ` +
      'or install with --no-client',
  );
}

async function refuseUnfitHost({program, out, err}: Context, options: Options): Promise<void> {
  const neededBytes = programSize(program) + 1_000_000;
  const findings = checkHost(await readHostFacts(options), {...options, neededBytes});
  for (const {fatal, text} of findings) (fatal ? err : out)(`${fatal ? 'failed' : 'note'}: ${text}`);
  if (findings.some(({fatal}) => fatal))
    throw new Error('nothing was changed: this host cannot run weft as it is');
}

interface Step {
  readonly layout: Layout;
  readonly context: Context;
  readonly options: Options;
  readonly conf: Conf | undefined;
  readonly before: Installed | undefined;
}

function refuseForeign({layout, context, options, conf, before}: Step): void {
  const files = fileNames(context.plugins).map((name) => join(layout.binDir, name));
  const foreign = files.filter((file) => lookAt(file) === 'foreign');
  if (conf !== undefined && isForeignConf(conf, before?.confs ?? [])) foreign.push(conf.path);
  if (foreign.length === 0 || options.force) return;
  throw new Error(
    `nothing was changed: ${foreign.join(', ')} ${foreign.length === 1 ? 'is' : 'are'} not weft's; ` +
      'move aside what you want to keep, or say --force to replace them (`weft uninstall` puts them back)',
  );
}

function confsAfter(before: Installed | undefined, conf: Conf | undefined): Installed['confs'] {
  const others = before?.confs.filter(({path}) => path !== conf?.path) ?? [];
  return conf === undefined ? others : [...others, {path: conf.path, sha256: hashOf(conf.content)}];
}

function report({
  context,
  options,
  conf,
  before,
  client,
}: Omit<Step, 'layout'> & {readonly client: Installed['client']}): void {
  const {release, out, plugins} = context;
  const from =
    before === undefined || before.version === release.version ? '' : ` (it was ${before.version})`;
  out(`installed weft ${release.version}${from} in ${options.binDir}: ${plugins.join(', ')}`);
  if (client !== undefined) {
    out(
      `they are native clients of the agent at ${client.socket}, and run the plugins themselves without it`,
    );
  }
  if (conf !== undefined) out(`put ${conf.path}: see that its subnets are free on your network`);
}
