import {readFileSync} from 'node:fs';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {parseYaml} from '../agent/membership/kubernetes/yaml.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir, repository} from './harness/paths.ts';

const test = testWith('root');

interface Container {
  readonly command: readonly string[];
}
interface Manifest {
  readonly kind: string;
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template: {
      readonly spec: {
        readonly initContainers: readonly Container[];
        readonly containers: readonly Container[];
      };
    };
  };
}

const manifests = parseYaml(
  readFileSync(path.join(repository, 'conf/kubernetes/weft-agent.yaml'), 'utf8'),
) as unknown as readonly Manifest[];
const pod = manifests.find(({kind}) => kind === 'DaemonSet')!.spec!.template.spec;
const {data = {}} = manifests.find(({kind}) => kind === 'ConfigMap')!;

// A root of its own with what the image, the volumes and the service account put there, in a mount namespace of its own: a
// container with hostNetwork and hostPID.
const makeContainer = `
root=/run/container
for directory in bin sbin lib lib64 usr; do
  if [ -L /$directory ]; then mkdir -p $root; cp -P /$directory $root/; continue; fi
  [ -d /$directory ] || continue
  mkdir -p $root/$directory
  mount --rbind /$directory $root/$directory
done
mkdir -p $root/proc $root/dev $root/tmp $root/weft $root/etc/weft $root/host/opt/cni/bin $root/host/etc/cni/net.d
mkdir -p $root/var/run/secrets/kubernetes.io/serviceaccount
mount --rbind /proc $root/proc
mount --rbind /dev $root/dev
mount --bind "$1" $root/weft
mount --bind /opt/cni/bin $root/host/opt/cni/bin
mount --bind /etc/cni/net.d $root/host/etc/cni/net.d
echo token > $root/var/run/secrets/kubernetes.io/serviceaccount/token
: > $root/var/run/secrets/kubernetes.io/serviceaccount/ca.crt
`;

const inContainer = (command: readonly string[]) => [
  ...['unshare', '--mount', 'chroot', '/run/container'],
  ...command,
];

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within a minute: ${what}`);
    await setTimeout(100);
  }
}

async function makeNode(host: TestHost): Promise<void> {
  await host.sh('umount /opt/cni/bin || true; mkdir -p /opt/cni/bin /etc/cni/net.d');
  await host.sh(`ip link add eth0 type veth peer name far
ip address add 192.168.50.1/24 dev eth0
ip link set eth0 up; ip link set far up
ip route add default via 192.168.50.254`);
  await host.sh(makeContainer, {args: [pluginDir]});
}

test('the scripts of the manifest, run as its pod would: installed, ready, told to Kubernetes, and a container has its address', async (t) => {
  const host = await makeHost(t);
  await makeNode(host);
  const config = JSON.parse(data['agent.json']!) as {
    overlay: {networks: {membership: Record<string, unknown>}[]};
  };
  // All that differs: where the API server is.
  config.overlay.networks[0]!.membership['server'] = 'http://127.0.0.1:6443';
  await host.write('/run/container/etc/weft/agent.json', JSON.stringify(config));
  await host.write('/run/container/etc/weft/10-weft.conflist', data['10-weft.conflist']!);
  const worker = path.join(repository, 'integration/harness/kubernetes-api-worker.ts');
  const api = host.start([process.execPath, worker, '6443', 'node-a=10.244.7.0/24']);
  let said = '';
  api.stdout!.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until('an API server', async () => said.includes('ready\n'));

  await host.run(inContainer(pod.initContainers[0]!.command), {timeoutMs: 120_000});
  t.regex((await host.run(['ls', '/opt/cni/bin'])).stdout, /^bridge$[^]*^vxlan$/m);
  const agent = host.start(inContainer(pod.containers[0]!.command), {env: {WEFT_NODE_NAME: 'node-a'}});
  const ended = new Promise<number | null>((resolve) => agent.once('close', resolve));
  const readyz = async () => {
    const url = 'http://127.0.0.1:9470/readyz';
    return (
      (
        await host.run([process.execPath, '-e', `fetch('${url}').then((a) => process.exit(a.ok ? 0 : 1))`], {
          mayFail: true,
        })
      ).code === 0
    );
  };
  await until('ready', readyz);
  await until('NetworkUnavailable is False', async () => said.includes('"status":"False"'));
  const patches = said
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map(
      (line) => JSON.parse(line) as {name: string; change: {metadata: {annotations: Record<string, string>}}},
    );
  t.like(patches[0], {name: 'node-a'});
  t.is(patches[0]?.change.metadata.annotations['flannel.alpha.coreos.com/public-ip'], '192.168.50.1');
  t.regex(await host.read('/run/flannel/subnet.env'), /^FLANNEL_SUBNET=10\.244\.7\.1\/24$/m);

  await host.addNetns('pod');
  const cnitool = (verb: string) =>
    host.run(['/opt/cni/bin/cnitool', verb, 'weft', '/run/netns/pod'], {
      env: {CNI_PATH: '/opt/cni/bin', NETCONFPATH: '/etc/cni/net.d'},
    });
  const {ips = []} = JSON.parse((await cnitool('add')).stdout) as {ips?: {address: string}[]};
  t.regex(ips[0]?.address ?? '', /^10\.244\.7\.\d+\/24$/);
  await cnitool('check');
  await cnitool('del');
  // The agent has entered the node's namespaces: it serves the calls, each of two plugins.
  const metrics = `fetch('http://127.0.0.1:9470/metrics').then((a) => a.text()).then(console.log)`;
  const {stdout} = await host.run([process.execPath, '-e', metrics]);
  t.regex(stdout, /^weft_cni_refused_total 0$/m);
  for (const plugin of ['vxlan', 'portmap'])
    for (const command of ['ADD', 'CHECK', 'DEL'])
      t.regex(
        stdout,
        new RegExp(`^weft_cni_calls_total\\{plugin="${plugin}",command="${command}",code="0"\\} 1$`, 'm'),
      );

  // The pod is stopped: its shell passes the signal on and ends as the agent does; the network stays.
  await host.sh('kill -TERM $(pgrep -o -f "^/bin/sh -ec export WEFT_SERVICE")');
  t.is(await ended, 0);
  t.regex((await host.run(['ip', 'link', 'show', 'type', 'vxlan'])).stdout, /flannel/);
});
