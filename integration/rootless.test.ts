import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import type {Reply} from './harness/plugin.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

// An unprivileged user makes namespaces of its own, is root there and nowhere else, and calls the plugin three
// times with a data directory that is the user's.
const script = `
set -eu
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/data
touch /run/netns/pod
unshare --net=/run/netns/pod true
export CNI_CONTAINERID=rootless-1 CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin
printf '%s' "$CONF" > /run/conf
CNI_COMMAND=ADD /opt/cni/bin/bridge < /run/conf > /run/result
cat /run/result
printf '%s, "prevResult": %s}' "\${CONF%\\}}" "$(cat /run/result)" > /run/conf
echo ---
CNI_COMMAND=CHECK /opt/cni/bin/bridge < /run/conf
/opt/busybox ping -c 1 -W 2 10.61.0.2 > /dev/null
echo checked
CNI_COMMAND=DEL /opt/cni/bin/bridge < /run/conf
nsenter --net=/run/netns/pod /opt/busybox ip -o link | grep -c eth0 || true
find /run/data -type f
`;

const asUser = ['setpriv', '--reuid=12345', '--regid=12345', '--clear-groups'];
const ownNamespaces = ['unshare', '--user', '--map-root-user', '--net', '--mount'];

test('an unprivileged user in namespaces of its own adds, checks and deletes', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = bridgeNetwork({name: 'rootless', cniVersion: '1.1.0'});
  const own = {...conf, ipam: {...conf.ipam, dataDir: '/run/data'}};
  // Its programs must be readable to a user who cannot look into the repository.
  await host.sh('cp "$1" /opt/busybox', {args: [path.join(await ensurePackages('tools'), 'bin/busybox')]});
  const {stdout} = await host.run([...asUser, ...ownNamespaces, '/bin/sh', '-c', script], {
    env: {CONF: JSON.stringify(own)},
    timeoutMs: 30_000,
  });
  const [result = '', rest = ''] = stdout.split('---\n');
  t.deepEqual(
    (JSON.parse(result) as {ips: {address: string}[]}).ips.map(({address}) => address),
    ['10.61.0.2/24', '2001:db8:61::2/64'],
  );
  t.regex(rest, /^checked\n0\n/);
  t.notRegex(rest, /10\.61|2001/);
  await assertNothingLeft(t, host, before, []);
});

const refusedScript = `
mount -t tmpfs tmpfs /run
mkdir /run/netns
touch /run/netns/pod
unshare --net=/run/netns/pod true
eval "$BEFORE"
export CNI_CONTAINERID=rootless-1 CNI_NETNS=/run/netns/pod CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin
printf '%s' "$CONF" | CNI_COMMAND=ADD /opt/cni/bin/bridge
echo "--- $?"
ip -o link show type veth
nsenter --net=/run/netns/pod ip -o link show type veth
nft list ruleset | grep elements
find /run/data -name '*.*.*.*'
`;

const refusals = [
  ['a data directory of somebody else', {BEFORE: ':'}, {}, /\/var\/lib\/cni.*(permission|EACCES|denied)/i],
  [
    'settings of the kernel that can only be read',
    {BEFORE: 'mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys'},
    {dataDir: '/run/data'},
    /forwarding.*read-only/,
  ],
] as const;

for (const [what, before, ipam, message] of refusals)
  test(`what a user may not do is refused and nothing is half done: ${what}`, async (t) => {
    const host = await makeHost(t);
    const snapshot = await takeSnapshot(host);
    const conf = bridgeNetwork({name: 'rootless', cniVersion: '1.1.0'});
    const own = {...conf, ipam: {...conf.ipam, ...ipam}};
    const {stdout} = await host.run([...asUser, ...ownNamespaces, '/bin/sh', '-c', refusedScript], {
      env: {...before, CONF: JSON.stringify(own)},
      timeoutMs: 30_000,
      mayFail: true,
    });
    const [result = '', rest = ''] = stdout.split('--- ');
    t.is(rest.trim(), '1');
    const {msg = '', details = ''} = JSON.parse(result) as Reply;
    t.regex(`${msg} ${details}`, message);
    await assertNothingLeft(t, host, snapshot, []);
  });

test('without any namespace of its own a user is told which capability is missing', async (t) => {
  const host = await makeHost(t);
  await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'rootless-1',
    CNI_NETNS: '/run/netns/pod',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin',
  };
  const conf = JSON.stringify(bridgeNetwork({name: 'rootless', cniVersion: '1.1.0'}));
  const {code, stdout} = await host.run([...asUser, '/opt/cni/bin/bridge'], {
    env,
    stdin: conf,
    mayFail: true,
  });
  t.is(code, 1);
  t.regex(stdout, /CAP_NET_ADMIN/);
  await assertNothingLeft(t, host, before, []);
});
