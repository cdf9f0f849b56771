import {spawn} from 'node:child_process';
import type {ExecutionContext} from 'ava';
import {openRouteSocket, type RouteSocket} from '../../lib/netlink/route/socket.ts';
import {Netns} from '../../lib/netns/netns.ts';
import {runCommand, type Output} from './command.ts';
import {binOf, ensurePackages} from './debian.ts';

/** A network namespace for one test of lib/, with a socket in it; gone when the test ends. Root only. */
export interface TestNamespace {
  readonly netns: Netns;
  readonly rt: RouteSocket;
  /** Runs a command in it. */
  readonly run: (...argv: string[]) => Promise<Output>;
  /** What `ip -j` or `bridge -j` prints about it. */
  readonly show: (tool: 'ip' | 'bridge', ...argv: string[]) => Promise<Record<string, unknown>[]>;
}

export async function makeNamespace(t: ExecutionContext): Promise<TestNamespace> {
  await ensurePackages('tools');
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo ready; exec sleep 600'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    holder.once('error', reject);
    holder.stdout.once('data', resolve);
  });
  const netns = Netns.open(`/proc/${holder.pid}/ns/net`);
  const rt = netns.run(() => openRouteSocket());
  t.teardown(() => {
    rt.close();
    netns.close();
    holder.kill('SIGKILL');
  });
  const run = (...argv: string[]) =>
    runCommand(['nsenter', `--net=${netns.path}`, '--', ...argv], {
      env: {...process.env, PATH: `${binOf('tools')}:/usr/sbin:/usr/bin:/sbin:/bin`},
    });
  return {
    netns,
    rt,
    run,
    async show(tool, ...rest) {
      const {stdout} = await run(tool, '-j', '-d', ...rest);
      return JSON.parse(stdout) as Record<string, unknown>[];
    },
  };
}
