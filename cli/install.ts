import {chmodSync, mkdirSync, rmSync} from 'node:fs';
import {isAbsolute, join, resolve} from 'node:path';
import {parseArgs} from 'node:util';
import {type Command, type Context, UsageError} from './command.ts';
import {getConf, hashOf, isForeignConf, putConf, type Conf} from './installation/conf.ts';
import {lookAt} from './installation/files.ts';
import {checkHost} from './installation/host-checks.ts';
import {readHostFacts} from './installation/host-facts.ts';
import {layoutOf, stubNames, versionDir, type Layout} from './installation/layout.ts';
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

Nothing is changed unless the host passes the checks. An upgrade keeps the previous version until the new one
has answered.`,
  async run(context) {
    const options = parseOptions(context.args);
    const conf = options.conf === undefined ? undefined : getConf(options.conf, {...options, ...context});
    const stub = formatStub({
      program: join(versionDir(layoutOf(options.hostBinDir), context.release.version), 'weft'),
      trailer: formatTrailer(context.release),
    });
    await refuseUnfitHost(context, options);

    const layout = layoutOf(options.binDir);
    makeFolders(layout);
    using _lock = lockInstallation(layout);
    const before = findInstalled(layout);
    try {
      refuseForeign({layout, context, options, conf, before});
      await upgrade({
        layout,
        context,
        stub,
        hostBinDir: options.hostBinDir,
        before,
        confs: confsAfter(before, conf),
      });
      if (conf !== undefined) putConf(conf, layout);
    } catch (error) {
      // What a first installation that failed leaves would look like an installation.
      if (findInstalled(layout) === undefined) rmSync(layout.home, {recursive: true, force: true});
      throw error;
    }
    report({context, options, conf, before});
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
    },
  });
  for (const key of ['bin-dir', 'host-bin-dir', 'conf-dir'] as const) {
    const value = values[key];
    if (value !== undefined && !isAbsolute(value)) {
      throw new UsageError(`--${key}: ${JSON.stringify(value)} is not an absolute path`);
    }
  }
  const binDir = resolve(values['bin-dir']);
  return {
    binDir,
    hostBinDir: resolve(values['host-bin-dir'] ?? binDir),
    confDir: resolve(values['conf-dir']),
    conf: values.conf,
    force: values.force,
  };
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
  const files = stubNames(context.plugins).map((name) => join(layout.binDir, name));
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

function report({context, options, conf, before}: Omit<Step, 'layout'>): void {
  const {release, out, plugins} = context;
  const from =
    before === undefined || before.version === release.version ? '' : ` (it was ${before.version})`;
  out(`installed weft ${release.version}${from} in ${options.binDir}: ${plugins.join(', ')}`);
  if (conf !== undefined) out(`put ${conf.path}: see that its subnets are free on your network`);
}
