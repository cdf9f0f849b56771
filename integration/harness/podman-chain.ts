import {existsSync} from 'node:fs';
import {readFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {ensurePackages} from './debian.ts';
import {repository} from './paths.ts';
import type {Podman} from './podman.ts';
import type {Question} from './ports.ts';
import {staysByDesign} from './snapshot.ts';

/** The bytes of podman's default conflist, as Debian's package brings it: bridge, portmap, firewall and tuning. */
export async function readDefaultConflist(): Promise<string> {
  const root = await ensurePackages('podman');
  return readFile(path.join(root, 'etc/cni/net.d/87-podman-bridge.conflist'), 'utf8');
}

/** A copy of podman's default conflist with an IPv6 range, under a name and with a bridge of its own. */
export async function makeDualStackConflist(): Promise<string> {
  const {plugins, ...rest} = JSON.parse(await readDefaultConflist()) as {
    plugins: {type: string; ipam?: {ranges: unknown[]; routes: unknown[]}}[];
  };
  const dual = plugins.map(({ipam, ...plugin}) =>
    ipam === undefined
      ? plugin
      : {
          ...plugin,
          bridge: 'cni-podman1',
          ipam: {
            ...ipam,
            ranges: [[{subnet: '10.87.0.0/24'}], [{subnet: 'fd00:87::/64'}]],
            routes: [...ipam.routes, {dst: '::/0'}],
          },
        },
  );
  return JSON.stringify({...rest, name: 'dual', plugins: dual});
}

/**
 * What a chain leaves by design, beyond what a bridge network does: rules that look addresses up in sets and maps,
 * which are empty, the rule in FORWARD that lets marked packets through, and the bridge's name among those to
 * which no packet from 127.0.0.1 may go.
 */
export const chainStays: readonly RegExp[] = [
  ...staysByDesign,
  /^nft rule \{"family":"inet","table":"weft(-firewall)?"/,
  /^nft rule .*"chain":"FORWARD","comment":"weft: traffic of containers"/,
  /^nft set inet weft portmap-interfaces element "cni/,
  // The kernel's own, of a host that forwards.
  /^route 2001:db8:2:: {2}uplink local$/,
];

/** What podman itself keeps: storage, locks, the name server's directories. */
export const podmansOwn: readonly RegExp[] = [
  /^mount \S+ \/(var\/lib\/containers|run\/(containers|netns|libpod))/,
  /^file \/run\/(containers|libpod|lock|crun|runc|xtables.lock)/,
  /^file \/var\/lib\/cni\/results\/?$/,
];

/** Flags that publish what such a container (see `servicesOf`) answers on. */
export const publishBoth: readonly string[] = ['-p', '8080:80', '-p', '5353:53/udp'];

/**
 * Flags and command of a container that answers on TCP 80 and UDP 53 with "NAME sees ADDRESS": the worker of
 * `serve`, run by the machine's own Node, as the container's first process.
 */
function servicesOf(name: string): {readonly flags: string[]; readonly command: string[]} {
  const worker = `${repository}/integration/harness/port-worker.ts`;
  const mounts = ['/lib', '/lib64', '/usr/lib']
    .filter(existsSync)
    .flatMap((each) => ['-v', `${each}:${each}:ro`]);
  const flags = [
    ...mounts,
    '-v',
    `${process.execPath}:/node:ro`,
    '-v',
    `${path.dirname(worker)}:/worker:ro`,
    ...['--name', name],
  ];
  return {flags, command: ['/node', '--no-warnings', '/worker/port-worker.ts', 'serve', name, '80', '53']};
}

/** Runs such a container in the background, and waits until its ports answer inside of it. */
export async function runServices(podman: Podman, name: string, ...flags: string[]): Promise<void> {
  const services = servicesOf(name);
  await podman.run([
    ...['run', '-d', ...podman.limits, ...services.flags, ...flags],
    'busybox',
    ...services.command,
  ]);
  await untilReady(podman, name);
}

/** What such a container's own questions are answered, as `ask` has it. */
export async function askFromContainer(
  podman: Podman,
  name: string,
  ...questions: Question[]
): Promise<string[]> {
  const list = JSON.stringify(questions.map((question) => ({protocol: 'tcp', ...question})));
  const {stdout} = await podman.run([
    'exec',
    name,
    '/node',
    '--no-warnings',
    '/worker/port-worker.ts',
    'ask',
    list,
  ]);
  return JSON.parse(stdout) as string[];
}

/** Waits until the container's ports answer. */
export async function untilReady(podman: Podman, name: string): Promise<void> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await setTimeout(200)) {
    const answers = await askFromContainer(
      podman,
      name,
      {address: '127.0.0.1', port: 80},
      {address: '127.0.0.1', port: 53},
    ).catch(() => []);
    if (answers.length > 0 && answers.every((answer) => answer.startsWith(name))) return;
  }
  throw new Error(`${name} does not listen`);
}
