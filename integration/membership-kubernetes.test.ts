import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import {monitorEventLoopDelay} from 'node:perf_hooks';
import {setTimeout} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import type {KubernetesConf} from '../agent/membership/kubernetes/conf.ts';
import {createKubernetesMembership} from '../agent/membership/kubernetes/membership.ts';
import type {Advertisement} from '../agent/membership/membership.ts';
import {formatIp, parseIp} from '../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../lib/ip/cidr.ts';
import {keepLog, record, type Recorded} from '../test/helpers/membership-recorder.ts';
import {makeCertificates} from './harness/certificates.ts';
import {startKubernetes, type TestKubernetes} from './harness/kubernetes-api.ts';
import {testWith} from './harness/needs.ts';
import {enterOwnNetns} from './harness/own-netns.ts';

const test = testWith('root', 'apt');
test.before(() => enterOwnNetns('etcd'));

const flannel = 'flannel.alpha.coreos.com/';

const conf: KubernetesConf = {
  network: [parseCidr('10.244.0.0/16')!, parseCidr('fd00:10:244::/56')!],
  annotationPrefix: flannel,
  serviceAccountDir: '/nonexistent',
  setCondition: true,
  requestTimeoutMs: 1000,
  retryMs: 20,
  retryMaxMs: 200,
  staleAfterMs: 300,
  watchSeconds: 300,
  idleMs: 2000,
  pageSize: 250,
};

const host = (last: number): Advertisement => ({
  underlay: [parseIp(`192.0.2.${last}`)!],
  macs: {4: `02:00:00:00:00:${last.toString(16).padStart(2, '0')}`},
  mtu: 1450,
});

/** What flannel itself says of a node. */
const ofFlannel = (last: number) => ({
  [`${flannel}kube-subnet-manager`]: 'true',
  [`${flannel}backend-type`]: 'vxlan',
  [`${flannel}backend-data`]: `{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:${last.toString(16).padStart(2, '0')}"}`,
  [`${flannel}public-ip`]: `192.0.2.${last}`,
});

async function join(
  t: ExecutionContext,
  api: TestKubernetes,
  name: string,
  {
    last,
    token = 'one',
    ...more
  }: Partial<KubernetesConf> & {readonly last?: number; readonly token?: string} = {},
): Promise<Recorded & {readonly directory: string; readonly log: ReturnType<typeof keepLog>}> {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'weft-kubernetes-'));
  t.teardown(() => rm(directory, {recursive: true, force: true}));
  await writeFile(path.join(directory, 'token'), `${token}\n`);
  await writeFile(path.join(directory, 'ca.crt'), '');
  const log = keepLog(t);
  const membership = createKubernetesMembership(
    {...conf, server: api.url, serviceAccountDir: directory, ...more},
    {nodeId: name, network: {name: 'pods', form: 'routed'}, log},
  );
  const recorded = record(t, membership);
  if (last !== undefined) membership.advertise(host(last));
  return Object.assign(recorded, {directory, log});
}

const isReady = ({membership}: Recorded) => membership.state.kind === 'ready';
const peersOf = ({snapshots}: Recorded) =>
  (snapshots.at(-1)?.peers ?? [])
    .map(({id, underlay}) => `${id}@${underlay.map(formatIp).join()}`)
    .sort()
    .join(' ');

test.serial('what is written is what flannel writes, and nothing else', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  t.deepEqual(api.patches, [
    {
      metadata: {
        annotations: {
          'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
          'flannel.alpha.coreos.com/backend-type': 'vxlan',
          'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
          'flannel.alpha.coreos.com/public-ip': '192.0.2.1',
          'weft.dev/mtu': '1450',
        },
      },
    },
  ]);
  t.deepEqual(a.snapshot.self?.subnets.map(formatCidr), ['10.244.1.0/24']);
  t.like(a.snapshot.network, {vni: 1, port: 8472, directRouting: false});
  // Said again, and after a restart: nothing to write.
  a.membership.advertise(host(1));
  await a.membership.close();
  const again = await join(t, api, 'a', {last: 1});
  await again.until('ready', isReady);
  t.is(api.patches.length, 1);
});

test.serial('two families: both subnets, both addresses, both hardware addresses', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.244.1.0/24', 'fd00:10:244:1::/64']});
  api.addNode('b', {
    podCIDRs: ['10.244.2.0/24', 'fd00:10:244:2::/64'],
    annotations: {
      ...ofFlannel(2),
      [`${flannel}backend-v6-data`]: '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:66"}',
      [`${flannel}public-ipv6`]: '2001:db8::2',
    },
  });
  const a = await join(t, api, 'a');
  a.membership.advertise({
    underlay: [parseIp('192.0.2.1')!, parseIp('2001:db8::1')!],
    macs: {4: '02:00:00:00:00:01', 6: '02:00:00:00:00:61'},
  });
  await a.until('ready', isReady);
  const {annotations} = (api.patches[0] as {metadata: {annotations: unknown}}).metadata;
  t.deepEqual(annotations, {
    'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
    'flannel.alpha.coreos.com/backend-type': 'vxlan',
    'flannel.alpha.coreos.com/backend-v6-data': '{"VNI":1,"VtepMAC":"02:00:00:00:00:61"}',
    'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
    'flannel.alpha.coreos.com/public-ip': '192.0.2.1',
    'flannel.alpha.coreos.com/public-ipv6': '2001:db8::1',
  });
  t.is(peersOf(a), 'b@192.0.2.2,2001:db8::2');
  t.deepEqual(a.snapshot.peers[0]?.macs, {4: 'c6:d2:32:6f:8f:02', 6: 'c6:d2:32:6f:8f:66'});
  t.deepEqual(a.snapshot.peers[0]?.subnets.map(formatCidr), ['10.244.2.0/24', 'fd00:10:244:2::/64']);
});

test.serial('peers come, change in one annotation, and go; heartbeats are no change', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  api.addNode('b', {podCIDRs: ['10.244.2.0/24'], annotations: ofFlannel(2)});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('b', () => isReady(a) && peersOf(a) === 'b@192.0.2.2');
  api.addNode('c', {podCIDRs: ['10.244.3.0/24']});
  api.annotate('c', ofFlannel(3));
  await a.until('c', () => peersOf(a) === 'b@192.0.2.2 c@192.0.2.3');
  api.annotate('c', {[`${flannel}backend-data`]: '{"VNI":1,"VtepMAC":"c6:00:00:00:00:33"}'});
  await a.until(
    'c has another',
    () => a.snapshot.peers.find(({id}) => id === 'c')?.macs[4] === 'c6:00:00:00:00:33',
  );
  const seen = a.snapshots.length;
  for (let i = 0; i < 20; i++) api.beat('b');
  api.deleteNode('b');
  await a.until('b left', () => peersOf(a) === 'c@192.0.2.3');
  t.is(a.snapshots.length, seen + 1);
  // What speaks of another backend, or not at all, is nobody.
  api.annotate('c', {[`${flannel}backend-type`]: 'host-gw'});
  await a.until('c is nobody', () => peersOf(a) === '');
});

test.serial('addresses that people want: another one told, another one used', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {
    podCIDRs: ['10.244.1.0/24'],
    annotations: {
      [`${flannel}public-ip-overwrite`]: '203.0.113.1',
      [`${flannel}node-public-ip`]: '192.0.2.77',
    },
  });
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  t.is(api.annotationsOf('a')[`${flannel}public-ip`], '203.0.113.1');
  t.deepEqual(a.snapshot.wantedUnderlay?.map(formatIp), ['192.0.2.77']);
  api.annotate('a', {[`${flannel}public-ip-overwrite`]: null});
  await a.until('its own again', () => api.annotationsOf('a')[`${flannel}public-ip`] === '192.0.2.1');
  // Somebody's wrong hand is corrected.
  api.annotate('a', {[`${flannel}public-ip`]: '198.51.100.1', [`${flannel}kube-subnet-manager`]: null});
  await a.until('corrected', () => api.annotationsOf('a')[`${flannel}public-ip`] === '192.0.2.1');
  t.is(api.annotationsOf('a')[`${flannel}kube-subnet-manager`], 'true');
});

test.serial(
  'NetworkUnavailable is false when the overlay works, true again when it stopped, and unsaid before',
  async (t) => {
    const api = await startKubernetes(t);
    api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
    const a = await join(t, api, 'a', {last: 1});
    const condition = () => api.conditionsOf('a').find(({type}) => type === 'NetworkUnavailable');
    a.membership.setReady(false);
    await a.until('ready', isReady);
    t.is(condition(), undefined);
    a.membership.setReady(true);
    await a.until('available', () => condition()?.['status'] === 'False');
    t.like(condition(), {reason: 'WeftIsUp', message: 'weft is running on this node'});
    t.is(api.conditionsOf('a').length, 2);
    a.membership.setReady(false);
    await a.until('unavailable', () => condition()?.['status'] === 'True');
  },
);

test.serial('a list of many pages; one that is too old in the middle is begun again', async (t) => {
  const api = await startKubernetes(t, {
    onList(pages) {
      if (pages === 3) api.compact();
    },
  });
  api.addNode('a', {podCIDRs: ['10.244.0.0/24']});
  for (let i = 1; i < 120; i++)
    api.addNode(`node-${i}`, {podCIDRs: [`10.244.${i}.0/24`], annotations: ofFlannel(i)});
  const a = await join(t, api, 'a', {last: 200, pageSize: 10});
  await a.until('all', () => isReady(a) && a.snapshot.peers.length === 119);
  // Three pages, the one that came too late, and twelve.
  t.is(api.counts['list'], 16);
  t.is(api.counts['410'], 1);
  t.is((await a.membership.relist())?.peers.length, 119);
  t.is(api.counts['list'], 28);
});

test.serial('who asks again while a list is on its way is answered too', async (t) => {
  let during: Promise<unknown> | undefined;
  let isAsking = false;
  const api = await startKubernetes(t, {
    onList() {
      if (isAsking) during ??= a.membership.relist();
    },
  });
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  isAsking = true;
  t.truthy(await a.membership.relist());
  t.truthy(await during, 'the second as well, and without waiting for its deadline');
});

test.serial('a watch that ends goes on where it was; one that is too old lists again', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  const lists = api.counts['list'];
  api.endWatches();
  api.addNode('b', {podCIDRs: ['10.244.2.0/24'], annotations: ofFlannel(2)});
  await a.until('b', () => peersOf(a) === 'b@192.0.2.2');
  t.is(api.counts['list'], lists);
  // Bookmarks carry it over changes of others that are compacted.
  await setTimeout(500);
  api.setMode('refuse');
  await a.until('stale', ({membership}) => membership.state.kind === 'stale');
  api.deleteNode('b');
  api.addNode('c', {podCIDRs: ['10.244.3.0/24'], annotations: ofFlannel(3)});
  api.compact();
  api.setMode('pass');
  await a.until('c instead of b', () => peersOf(a) === 'c@192.0.2.3');
  await a.until('ready', isReady);
  t.true((api.counts['list'] ?? 0) > (lists ?? 0));
});

test.serial('a token that is not taken any more is read again', async (t) => {
  const api = await startKubernetes(t);
  api.tokens.add('one');
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  await writeFile(path.join(a.directory, 'token'), 'two\n');
  api.tokens.clear();
  api.tokens.add('two');
  a.membership.advertise(host(9));
  await a.until('written', () => api.annotationsOf('a')[`${flannel}public-ip`] === '192.0.2.9');
  api.endWatches();
  api.addNode('b', {podCIDRs: ['10.244.2.0/24'], annotations: ofFlannel(2)});
  await a.until('b', () => peersOf(a) === 'b@192.0.2.2');
  api.tokens.clear();
  api.tokens.add('three');
  api.endWatches();
  await a.until('refused', ({membership}) =>
    membership.state.reason?.includes('HTTP status 401: Unauthorized'),
  );
  await writeFile(path.join(a.directory, 'token'), 'three\n');
  await a.until('ready', isReady);
});

for (const mode of ['mute', 'garbage', 'busy', 'error', 'refuse'] as const)
  test.serial(
    `a server that is ${mode} for a while: the last known nodes stand, then all is caught up`,
    async (t) => {
      const api = await startKubernetes(t);
      api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
      api.addNode('b', {podCIDRs: ['10.244.2.0/24'], annotations: ofFlannel(2)});
      const a = await join(t, api, 'a', {last: 1});
      await a.until('b', () => isReady(a) && peersOf(a) === 'b@192.0.2.2');
      api.setMode(mode);
      await a.until('stale', ({membership}) => membership.state.kind === 'stale');
      t.is(peersOf(a), 'b@192.0.2.2');
      a.membership.advertise(host(7));
      api.addNode('c', {podCIDRs: ['10.244.3.0/24'], annotations: ofFlannel(3)});
      await setTimeout(500);
      api.setMode('pass');
      await a.until('c', () => isReady(a) && peersOf(a) === 'b@192.0.2.2 c@192.0.2.3');
      await a.until('written', () => api.annotationsOf('a')[`${flannel}public-ip`] === '192.0.2.7');
      // Nobody runs against a wall: the pauses grow, and what the server asks for is kept.
      const requests = api.counts['429'] ?? api.counts['500'] ?? 0;
      t.true(requests < (mode === 'busy' ? 8 : 40), `${requests} requests`);
    },
  );

for (const mode of ['slow', 'cut'] as const)
  test.serial(`a stream that is ${mode} brings everything all the same`, async (t) => {
    const api = await startKubernetes(t);
    api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
    const a = await join(t, api, 'a', {last: 1});
    await a.until('ready', isReady);
    api.setMode(mode);
    api.addNode('b', {podCIDRs: ['10.244.2.0/24'], annotations: ofFlannel(2)});
    if (mode === 'cut') {
      await setTimeout(300);
      api.setMode('pass');
    }
    await a.until('b', () => peersOf(a) === 'b@192.0.2.2');
  });

test.serial('a stream in which nothing comes any more is opened again', async (t) => {
  const api = await startKubernetes(t, {bookmarkMs: 3_600_000});
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1, idleMs: 300});
  await a.until('ready', isReady);
  const watches = api.counts['watch'] ?? 0;
  await a.until('opened again', () => (api.counts['watch'] ?? 0) > watches + 1);
  t.is(api.counts['list'], 1);
});

test.serial('what keeps a node from taking part is said with its remedy', async (t) => {
  const api = await startKubernetes(t);
  const a = await join(t, api, 'a', {last: 1});
  await a.until('no node', () =>
    a.membership.state.reason?.includes('there is no node a; set membership.node'),
  );
  api.addNode('a');
  await a.until('no podCIDR', () =>
    a.membership.state.reason?.includes('has no podCIDR; run kube-controller-manager'),
  );
  api.deleteNode('a');
  api.addNode('a', {podCIDRs: ['10.9.0.0/24']});
  await a.until('outside', () =>
    a.membership.state.reason?.includes('10.9.0.0/24 is outside the network 10.244.0.0/16'),
  );
  t.is(a.membership.state.kind, 'starting');
  api.deleteNode('a');
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  await a.until('ready', isReady);
});

test.serial('a node that was made anew with another subnet is a conflict: nothing is given up', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const a = await join(t, api, 'a', {last: 1});
  await a.until('ready', isReady);
  api.deleteNode('a');
  await a.until('gone', ({membership}) => membership.state.kind === 'stale');
  t.deepEqual(a.snapshot.self?.subnets.map(formatCidr), ['10.244.1.0/24']);
  api.addNode('a', {podCIDRs: ['10.244.9.0/24']});
  await a.until('conflict', ({membership}) => membership.state.kind === 'conflict');
  t.deepEqual(a.snapshot.self?.subnets.map(formatCidr), ['10.244.1.0/24']);
  t.regex(a.membership.state.reason!, /has podCIDR 10\.244\.9\.0\/24 now, but 10\.244\.1\.0\/24/);
});

test.serial('TLS, a client certificate and the rest from a kubeconfig as kubeadm writes it', async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), 'weft-kubeconfig-'));
  t.teardown(() => rm(directory, {recursive: true, force: true}));
  const certificates = await makeCertificates(directory, ['127.0.0.1']);
  const api = await startKubernetes(t, {certificates});
  api.addNode('a', {podCIDRs: ['10.244.1.0/24']});
  const kubeconfig = path.join(directory, 'kubelet.conf');
  await writeFile(
    kubeconfig,
    `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ${(await readFile(certificates.ca)).toString('base64')}
    server: ${api.url}
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
preferences: {}
users:
- name: default-auth
  user:
    client-certificate: cert.pem
    client-key: key.pem
`,
  );
  const membership = createKubernetesMembership(
    {...conf, kubeconfig},
    {nodeId: 'a', network: {name: 'pods', form: 'routed'}, log: keepLog(t)},
  );
  const a = record(t, membership);
  membership.advertise(host(1));
  await a.until('ready', isReady);
  t.is(api.patches.length, 1);
  // Without the certificate there is no answer, and the reason says so.
  const stranger = await join(t, api, 'a', {last: 1});
  await writeFile(path.join(stranger.directory, 'ca.crt'), await readFile(certificates.ca));
  await stranger.until('refused', () => /alert|certificate/i.test(stranger.membership.state.reason ?? ''));
});

test.serial('five thousand nodes: a list without long stops, one change among heartbeats', async (t) => {
  const api = await startKubernetes(t);
  api.addNode('a', {podCIDRs: ['10.0.0.0/24']});
  for (let i = 1; i <= 5000; i++)
    api.addNode(`node-${i}`, {podCIDRs: [`10.${i >> 8}.${i & 255}.0/24`], annotations: ofFlannel(i & 255)});
  const delay = monitorEventLoopDelay({resolution: 5});
  const started = performance.now();
  const a = await join(t, api, 'a', {last: 1, network: [parseCidr('10.0.0.0/8')!], requestTimeoutMs: 30_000});
  delay.enable();
  await a.until('all', ({snapshot}) => snapshot.peers.length === 5000);
  delay.disable();
  const [listedMs, stopMs] = [performance.now() - started, delay.max / 1e6];
  t.log(
    `list of 5,000: ${listedMs.toFixed(0)} ms, longest stop ${stopMs.toFixed(0)} ms (server in the same process)`,
  );
  await a.until('ready', isReady);
  const seen = a.snapshots.length;
  for (let i = 1; i <= 500; i++) api.beat(`node-${i}`);
  const changed = performance.now();
  api.annotate('node-7', {[`${flannel}backend-data`]: '{"VNI":1,"VtepMAC":"c6:00:00:00:00:77"}'});
  await a.until('one', ({snapshot}) => snapshot.peers.some(({macs}) => macs[4] === 'c6:00:00:00:00:77'));
  t.log(`one change behind 500 heartbeats: ${(performance.now() - changed).toFixed(0)} ms`);
  t.is(a.snapshots.length, seen + 1);
});
