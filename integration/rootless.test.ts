import path from 'node:path';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
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

test('an unprivileged user in namespaces of its own adds, checks and deletes', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = bridgeNetwork({name: 'rootless', cniVersion: '1.1.0'});
  const own = {...conf, ipam: {...conf.ipam, dataDir: '/run/data'}};
  // Its programs must be readable to a user who cannot look into the repository.
  await host.sh('cp "$1" /opt/busybox', {args: [path.join(await ensurePackages('tools'), 'bin/busybox')]});
  const {stdout} = await host.run(
    [
      'setpriv',
      '--reuid=12345',
      '--regid=12345',
      '--clear-groups',
      'unshare',
      '--user',
      '--map-root-user',
      '--net',
      '--mount',
      '/bin/sh',
      '-c',
      script,
    ],
    {env: {CONF: JSON.stringify(own)}, timeoutMs: 30_000},
  );
  const [result = '', rest = ''] = stdout.split('---\n');
  t.deepEqual(
    (JSON.parse(result) as {ips: {address: string}[]}).ips.map(({address}) => address),
    ['10.61.0.2/24', '2001:db8:61::2/64'],
  );
  t.regex(rest, /^checked\n0\n/);
  t.notRegex(rest, /10\.61|2001/);
  await assertNothingLeft(t, host, before, []);
});
