import {spawn, type ChildProcess} from 'node:child_process';
import {mkdtemp, rm} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {runCommand, type CommandOptions, type Output} from './command.ts';
import {binOf, ensurePackages} from './debian.ts';
import {makeCertificates, type Certificates} from './certificates.ts';

export interface EtcdOptions {
  /** One member for each address, on ports 2379 and 2380; 127.0.0.1 by default. */
  readonly addresses?: readonly string[];
  /** Clients speak TLS to it and show a certificate. */
  readonly tls?: boolean;
  /** Switches authentication on: root with this password, and `weft` with the same, who may use `prefix`. */
  readonly auth?: {readonly password: string; readonly prefix: string; readonly tokenTtlS?: number};
  /** What goes before a command line so that it runs where the member is: `['nsenter', '--net=…', '--']`. */
  readonly enter?: readonly string[];
  /** More flags of etcd's. */
  readonly flags?: readonly string[];
  readonly log?: (line: string) => void;
}

/** One etcd process, which a test may stop, freeze and empty. */
export interface EtcdMember {
  readonly url: string;
  /** Process id of etcd itself; undefined while it is stopped. */
  readonly pid: number | undefined;
  /** Returns when it serves clients; with `wait: false` at once (a cluster needs most of its members for that). */
  start(options?: {readonly wait: boolean}): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** SIGSTOP and SIGCONT: its connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** Stops it and removes its data. */
  wipe(): Promise<void>;
}

/** Debian's etcd with data of its own in the temporary directory. */
export interface Etcd {
  readonly members: readonly EtcdMember[];
  /** URLs of all members. */
  readonly endpoints: readonly string[];
  readonly certificates: Certificates | undefined;
  /** Runs etcdctl against all members, as root where there is authentication. */
  ctl(argv: readonly string[], options?: CommandOptions): Promise<Output>;
  /** The member that leads at the moment. */
  leader(): Promise<EtcdMember>;
  close(): Promise<void>;
}

/** Starts an etcd for a test and removes it when the test ends; its log is shown if the test failed. */
export async function makeEtcd(t: ExecutionContext, options: EtcdOptions = {}): Promise<Etcd> {
  const lines: string[] = [];
  const etcd = await startEtcd({log: (line) => lines.push(line), ...options});
  t.teardown(async () => {
    await etcd.close();
    if (!t.passed) for (const line of lines.slice(-60)) t.log(line);
  });
  return etcd;
}

/** As `makeEtcd`, without a test around it: the caller closes it. */
export async function startEtcd(options: EtcdOptions = {}): Promise<Etcd> {
  await ensurePackages('etcd');
  const {addresses = ['127.0.0.1'], tls = false, auth, enter = [], log} = options;
  const directory = await mkdtemp(path.join(os.tmpdir(), 'weft-etcd-'));
  const certificates = tls ? await makeCertificates(directory, addresses) : undefined;
  const members = addresses.map((_, index) =>
    makeMember(index, {...options, addresses}, {directory, certificates}),
  );
  const endpoints = members.map(({url}) => url);
  const env = {
    ...process.env,
    ETCDCTL_API: '3',
    ETCDCTL_ENDPOINTS: endpoints.join(','),
    ...(certificates && {
      ETCDCTL_CACERT: certificates.ca,
      ETCDCTL_CERT: certificates.cert,
      ETCDCTL_KEY: certificates.key,
    }),
  };
  let user: readonly string[] = [];
  const ctl: Etcd['ctl'] = (argv, more) =>
    runCommand([...enter, path.join(binOf('etcd'), 'etcdctl'), ...user, ...argv], {
      env,
      ...(log && {log}),
      ...more,
    });
  const close = async () => {
    await Promise.all(members.map((member) => member.stop('SIGKILL')));
    await rm(directory, {recursive: true, force: true});
  };
  try {
    await Promise.all(members.map((member) => member.start()));
    if (auth !== undefined) {
      for (const name of ['root', 'weft']) await ctl(['user', 'add', `${name}:${auth.password}`]);
      await ctl(['user', 'grant-role', 'root', 'root']);
      await ctl(['role', 'add', 'weft']);
      await ctl(['role', 'grant-permission', '--prefix=true', 'weft', 'readwrite', auth.prefix]);
      await ctl(['user', 'grant-role', 'weft', 'weft']);
      await ctl(['auth', 'enable']);
      user = [`--user=root:${auth.password}`];
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    members,
    endpoints,
    certificates,
    ctl,
    async leader() {
      for (let attempt = 0; ; attempt++) {
        const {stdout} = await ctl(['endpoint', 'status', '-w', 'json'], {mayFail: true});
        const url = leaderOf(stdout);
        const member = members.find((each) => each.url === url);
        if (member !== undefined) return member;
        if (attempt === 60) throw new Error(`no member leads: ${stdout}`);
        await setTimeout(500);
      }
    },
    close,
  };
}

/** The endpoint that says of itself that it leads. */
function leaderOf(status: string): string | undefined {
  const states = JSON.parse(status || '[]') as {
    Endpoint: string;
    Status: {header: {member_id: number}; leader: number};
  }[];
  return states.find(({Status}) => Status.leader === Status.header.member_id)?.Endpoint;
}

function makeMember(
  index: number,
  {addresses = [], auth, enter = [], flags = [], log}: EtcdOptions,
  {directory, certificates}: {directory: string; certificates: Certificates | undefined},
): EtcdMember {
  const name = `m${index}`;
  const data = path.join(directory, name);
  const scheme = certificates ? 'https' : 'http';
  const urlOf = (address: string, port: number, kind = 'http') =>
    `${kind}://${address.includes(':') ? `[${address}]` : address}:${port}`;
  const url = urlOf(addresses[index]!, 2379, scheme);
  const peer = urlOf(addresses[index]!, 2380);
  const argv = [
    ...[path.join(binOf('etcd'), 'etcd'), '--name', name, '--data-dir', data],
    ...['--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
    ...['--initial-cluster', addresses.map((address, i) => `m${i}=${urlOf(address, 2380)}`).join(',')],
    ...(certificates
      ? [
          '--trusted-ca-file',
          certificates.ca,
          '--cert-file',
          certificates.cert,
          '--key-file',
          certificates.key,
        ]
      : []),
    ...(certificates ? ['--client-cert-auth'] : []),
    ...(auth?.tokenTtlS === undefined ? [] : ['--auth-token-ttl', String(auth.tokenTtlS)]),
    ...flags,
  ];
  let child: ChildProcess | undefined;
  return {
    url,
    get pid() {
      return child?.pid;
    },
    async start({wait} = {wait: true}) {
      // The wrapper and nsenter replace themselves, so the process is etcd itself.
      const command = ['setpriv', '--pdeathsig', 'KILL', ...enter, ...argv];
      log?.(`& ${name}: ${command.join(' ')}`);
      const started = spawn(command[0]!, command.slice(1), {stdio: ['ignore', 'ignore', 'pipe']});
      child = started;
      const serves = new Promise<void>((resolve, reject) => {
        let said = '';
        started.once('error', reject);
        started.once('exit', (code, signal) =>
          reject(new Error(`etcd ended with ${signal ?? code}:\n${said}`)),
        );
        started.stderr.on('data', (chunk: Buffer) => {
          const text = chunk.toString();
          if (log) for (const line of text.trimEnd().split('\n')) log(`  ${name}: ${line}`);
          said = `${said}${text}`.slice(-4000);
          if (said.includes('ready to serve client requests')) resolve();
        });
      });
      serves.catch(() => {});
      if (wait) await serves;
    },
    async stop(signal = 'SIGTERM') {
      const stopped = child;
      child = undefined;
      if (stopped === undefined || stopped.exitCode !== null || stopped.signalCode !== null) return;
      const gone = new Promise((resolve) => stopped.once('exit', resolve));
      stopped.kill(signal);
      // A frozen process does not hear of a polite end.
      if (signal !== 'SIGKILL') stopped.kill('SIGCONT');
      await gone;
    },
    pause: () => void child?.kill('SIGSTOP'),
    resume: () => void child?.kill('SIGCONT'),
    async wipe() {
      await this.stop('SIGKILL');
      await rm(data, {recursive: true, force: true});
    },
  };
}
