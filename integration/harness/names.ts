import path from 'node:path';
import type {Answer, Question} from './dns-worker.ts';
import type {TestHost} from './host.ts';
import {pluginDir, repository} from './paths.ts';
import type {Reply} from './plugin.ts';

const worker = path.join(repository, 'integration/harness/dns-worker.ts');
const page = path.join(repository, 'integration/harness/http.ts');

/** A chain with names; `keys` are of the plugin discovery. */
export function namedNetwork(
  name: string,
  {
    keys = {},
    subnets = ['10.61.0.0/24', 'fd00:61::/64'],
    type = 'discovery',
    bridge = `br-${name}`,
  }: {
    readonly keys?: object;
    readonly subnets?: readonly string[];
    readonly type?: string;
    readonly bridge?: string;
  } = {},
): string {
  return JSON.stringify({
    cniVersion: '1.0.0',
    name,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        isDefaultGateway: true,
        hairpinMode: true,
        ipam: {type: 'host-local', ranges: subnets.map((subnet) => [{subnet}])},
      },
      {type, capabilities: {aliases: true, 'io.kubernetes.cri.pod-annotations': true}, ...keys},
    ],
  });
}

/** Attaches a namespace of the container's name to a network by cnitool. */
export async function attachNamed(
  host: TestHost,
  network: string,
  name: string,
  {
    netns = name,
    args = `IgnoreUnknown=1;K8S_POD_NAME=${name}`,
    capArgs = {},
    ifName = 'eth0',
    verb = 'add',
  }: {
    readonly netns?: string;
    readonly args?: string;
    readonly capArgs?: object;
    readonly ifName?: string;
    readonly verb?: string;
  } = {},
): Promise<Reply> {
  const {stdout} = await host.run([path.join(pluginDir, 'cnitool'), verb, network, `/run/netns/${netns}`], {
    env: {
      CNI_PATH: pluginDir,
      NETCONFPATH: '/etc/cni/net.d',
      CNI_ARGS: args,
      CAP_ARGS: JSON.stringify(capArgs),
      CNI_IFNAME: ifName,
    },
  });
  return verb === 'add' ? (JSON.parse(stdout) as Reply) : {};
}

/** Asks DNS questions from a container, all at once. */
export async function askDns(
  host: TestHost,
  netns: string | undefined,
  questions: readonly Question[],
): Promise<readonly Answer[]> {
  const argv = [process.execPath, worker, 'ask', JSON.stringify(questions)];
  const {stdout} = await host.run(netns === undefined ? argv : host.inNetns(netns, argv));
  return JSON.parse(stdout) as Answer[];
}

/** The addresses, names or texts of an answer, in order of their text. */
export function dataOf({answers}: Answer): readonly string[] {
  return answers.map(({data}) => String(data)).toSorted((a, b) => a.localeCompare(b));
}

/** A server in a namespace that answers these names, and no others; ready when this returns. */
export async function startDnsServer(
  host: TestHost,
  netns: string,
  known: Record<string, string>,
): Promise<void> {
  await startUntilReady(
    host,
    host.inNetns(netns, [process.execPath, worker, 'serve', JSON.stringify(known)]),
  );
}

/** A web page in a container on a port. */
export async function startPage(host: TestHost, netns: string, port: number): Promise<void> {
  await startUntilReady(host, host.inNetns(netns, [process.execPath, page, 'serve', netns, String(port)]));
}

async function startUntilReady(host: TestHost, argv: readonly string[]): Promise<void> {
  const child = host.start(argv);
  await new Promise<void>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => chunk.includes('ready') && resolve());
    child.once('close', (code) => reject(new Error(`${argv.join(' ')} ended with ${code}`)));
  });
}

/** Fetches a page as a program in the container would: by name, with the container's resolv.conf. */
export async function fetchByName(host: TestHost, netns: string, url: string): Promise<string> {
  const {stdout} = await host.run(['ip', 'netns', 'exec', netns, process.execPath, page, 'get', url]);
  return stdout;
}

/** What a runtime that obeys `dns` of the result writes: /etc/netns/NAME/resolv.conf, for `ip netns exec`. */
export async function writeResolvConf(host: TestHost, netns: string, {dns = {}}: Reply): Promise<void> {
  const {nameservers = [], search = []} = dns as {nameservers?: string[]; search?: string[]};
  await host.run(['mkdir', '-p', `/etc/netns/${netns}`]);
  await host.write(
    `/etc/netns/${netns}/resolv.conf`,
    [...nameservers.map((each) => `nameserver ${each}`), `search ${search.join(' ')}`, ''].join('\n'),
  );
}
