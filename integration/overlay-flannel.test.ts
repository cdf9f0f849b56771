import path from 'node:path';
import type {ExecutionContext} from 'ava';
import {pings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  putNetwork,
  startStore,
  storeMembership,
  storePrefix,
} from './harness/overlay-cluster.ts';
import {viewKernel} from './harness/overlay-kernel.ts';
import {makeRig, type OverlayRig} from './harness/overlay-rig.ts';
import {repository} from './harness/paths.ts';

/*
 * A host with weft agent and one that does by hand what flanneld does, with nothing but the record that each leaves for the
 * other: `ip`, `bridge`, and the names and values of flannel's source (pkg/backend/vxlan, pkg/subnet). flanneld itself is
 * in no Debian package.
 */

const test = testWith('root', 'apt');

/** What flanneld reads of a peer's record. */
interface Peer {
  readonly subnet: string;
  readonly publicIp: string;
  readonly backendData: string;
}

/** Where both hosts write their records. */
interface Source {
  readonly membership: Readonly<Record<string, unknown>>;
  /** The record of h1; undefined while there is none. */
  read(): Promise<Peer | undefined>;
  /** Writes that of h2. */
  write(publicIp: string, backendData: string): Promise<void>;
}

const annotation = (name: string) => `flannel.alpha.coreos.com/${name}`;

async function openEtcd(t: ExecutionContext, rig: OverlayRig): Promise<Source> {
  const etcd = await startStore(rig);
  t.teardown(() => etcd.close());
  await putNetwork(etcd, {EnableIPv6: false});
  const own = `${storePrefix}/subnets/10.244.2.0-24`;
  return {
    membership: storeMembership(etcd, {leaseTtlS: 120}),
    async read() {
      const {stdout} = await etcd.ctl(['get', '--prefix', `${storePrefix}/subnets`]);
      const lines = stdout.split('\n');
      const at = lines.findIndex((line) => line.startsWith(`${storePrefix}/subnets/`) && line !== own);
      // pkg/subnet/config.go, ParseSubnetKey
      const [, ip, prefix] = /(\d+\.\d+.\d+.\d+)-(\d+)$/.exec(lines[at] ?? '') ?? [];
      if (ip === undefined) return undefined;
      const text = lines[at + 1]!;
      const {
        PublicIP: publicIp,
        BackendType: type,
        BackendData: data,
      } = JSON.parse(text) as Record<string, unknown>;
      t.is(type, 'vxlan');
      const backendData = JSON.stringify(data);
      t.true(text.includes(`"BackendType":"vxlan","BackendData":${backendData}`), text);
      return {subnet: `${ip}/${prefix}`, publicIp: String(publicIp), backendData};
    },
    async write(publicIp, backendData) {
      const value = `{"PublicIP":"${publicIp}","PublicIPv6":null,"BackendType":"vxlan","BackendData":${backendData}}`;
      await etcd.ctl(['put', own, value]);
    },
  };
}

async function openKubernetes(_t: ExecutionContext, rig: OverlayRig): Promise<Source> {
  const {host} = rig.host('h1');
  const worker = path.join(repository, 'integration/harness/kubernetes-api-worker.ts');
  const api = host.start([process.execPath, worker, '6443', 'h1=10.244.1.0/24', 'h2=10.244.2.0/24']);
  let said = '';
  api.stdout!.on('data', (chunk: Buffer) => (said += chunk.toString()));
  await waitFor('the API server', () => said.includes('ready\n'));
  await host.write('/etc/weft/account/token', 'one');
  await host.write('/etc/weft/account/ca.crt', '');
  const patch = `const [url, body] = process.argv.slice(1);
    const headers = {authorization: 'Bearer one', 'content-type': 'application/strategic-merge-patch+json'};
    fetch(url, {method: 'PATCH', headers, body}).then(({status}) => process.exit(status === 200 ? 0 : 1))`;
  return {
    membership: {
      type: 'kubernetes',
      server: 'http://127.0.0.1:6443',
      serviceAccountDir: '/etc/weft/account',
      network: '10.244.0.0/16',
    },
    async read() {
      const annotations: Record<string, string> = {};
      for (const line of said.split('\n').filter((each) => each.startsWith('{'))) {
        const {name, change} = JSON.parse(line) as {name: string; change: {metadata: {annotations: object}}};
        if (name === 'h1') Object.assign(annotations, change.metadata.annotations);
      }
      const publicIp = annotations[annotation('public-ip')];
      if (annotations[annotation('kube-subnet-manager')] !== 'true' || publicIp === undefined)
        return undefined;
      return {subnet: '10.244.1.0/24', publicIp, backendData: annotations[annotation('backend-data')]!};
    },
    async write(publicIp, backendData) {
      const annotations = {
        [annotation('backend-data')]: backendData,
        [annotation('backend-type')]: 'vxlan',
        [annotation('kube-subnet-manager')]: 'true',
        [annotation('public-ip')]: publicIp,
      };
      const url = 'http://127.0.0.1:6443/api/v1/nodes/h2/status';
      await host.run([process.execPath, '-e', patch, url, JSON.stringify({metadata: {annotations}})]);
    },
  };
}

for (const [kind, open] of [
  ['etcd', openEtcd],
  ['Kubernetes', openKubernetes],
] as const)
  test.serial(
    `a host as flanneld makes it, and one of ours, by ${kind}: containers reach each other`,
    async (t) => {
      const rig = await makeRig(t, {hosts: 2});
      const [h1, h2] = [rig.host('h1'), rig.host('h2')];
      const source = await open(t, rig);
      const macs = ['c6:d2:32:6f:8f:44', '7a:11:22:33:44:55'] as const;
      await source.write(h2.ipv4, `{"VNI":1,"VtepMAC":"${macs[0]}"}`);
      const agent = await h1.startAgent(agentConfig('h1', source.membership));
      const kernel = viewKernel(h1.host);
      t.teardown(() => kernel.close());

      // pkg/backend/vxlan: newVXLANDevice, Configure, handleSubnetEvents.
      await h2.host.sh(
        `ip link add flannel.1 address ${macs[0]} mtu 1450 type vxlan id 1 dev eth0 local ${h2.ipv4} dstport 8472 nolearning
      ip address add 10.244.2.0/32 dev flannel.1
      ip link set flannel.1 up`,
      );
      let peer: Peer | undefined;
      await waitFor('the record of h1', async () => (peer = await source.read()) !== undefined);
      const {subnet, publicIp, backendData} = peer!;
      t.is(publicIp, h1.ipv4);
      // Go's code of Kubernetes takes the text apart at `:"`, and wants two parts.
      t.is(backendData.split(':"').length, 2);
      t.regex(backendData, /^\{"VNI":1,"VtepMAC":"([0-9a-f]{2}:){5}[0-9a-f]{2}"\}$/);
      const {VtepMAC: mac} = JSON.parse(backendData) as {VtepMAC: string};
      const [network] = subnet.split('/') as [string];
      await h2.host.sh(
        `ip neigh replace "$1" lladdr "$2" dev flannel.1 nud permanent
      bridge fdb append "$2" dev flannel.1 dst "$3"
      ip route replace "$4" via "$1" dev flannel.1 onlink`,
        {args: [network, mac, publicIp, subnet]},
      );
      await h2.host.write(
        '/run/flannel/subnet.env',
        'FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.2.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n',
      );

      const conf = {cniVersion: '1.0.0', name: 'cbr0', type: 'flannel', delegate: {isDefaultGateway: true}};
      const [ours, theirs] = [await addPod(h1, 'pod', conf), await addPod(h2, 'pod', conf)];
      const bothWays = async () => {
        t.true(await pings(h1.host, 'pod', theirs.ipv4), 'from ours to theirs');
        t.true(await pings(h2.host, 'pod', ours.ipv4), 'from theirs to ours');
      };
      await kernel.untilTrue(
        'the peer',
        (lines) =>
          lines.includes(`neigh flannel.1 10.244.2.0 ${macs[0]}`) &&
          lines.includes(`fdb flannel.1 ${macs[0]} ${h2.ipv4}`) &&
          lines.includes('route 10.244.2.0/24 via 10.244.2.0 flannel.1'),
        20_000,
      );
      await bothWays();

      // With etcd flanneld comes back with another hardware address after each start of its host.
      await h2.host.run(['ip', 'link', 'set', 'flannel.1', 'address', macs[1]]);
      await h2.host.sh('ip neigh replace "$1" lladdr "$2" dev flannel.1 nud permanent', {
        args: [network, mac],
      });
      await source.write(h2.ipv4, `{"VNI":1,"VtepMAC":"${macs[1]}"}`);
      await kernel.untilTrue(
        'its new hardware address alone',
        (lines) =>
          lines.includes(`fdb flannel.1 ${macs[1]} ${h2.ipv4}`) &&
          !lines.some((line) => line.includes(macs[0])),
        20_000,
      );
      await bothWays();
      t.true(await agent.isReady());
    },
  );
