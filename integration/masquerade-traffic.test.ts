import type {ExecutionContext} from 'ava';
import {makeNftHost} from '../test/helpers/nft-host.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {ensureMasquerade, removeMasquerade} from '../lib/nat/masquerade.ts';
import {ensureMacSpoofCheck, removeMacSpoofCheck} from '../plugins/bridge/macspoof.ts';
import {testWith} from './harness/needs.ts';
import type {TestHost} from './harness/host.ts';

const test = testWith('root', 'apt');

const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};
const ips = [parseCidr('10.77.0.2/24')!, parseCidr('fd77::2/64')!];

// A container "pod" behind a bridge, and a machine "out" beyond the host. "out" has addresses outside (.2, and .3 which
// is exempt), and one in the container's own subnet, reached through the host. It answers with who it thinks is asking.
async function connect(host: TestHost): Promise<void> {
  await host.addNetns('pod');
  await host.addNetns('out');
  await host.sh(
    `
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    ip link add br0 type bridge
    ip link add vethpod type veth peer name eth0 netns pod
    ip link set vethpod master br0
    ip link add vethout type veth peer name eth0 netns out
    for link in br0 vethpod vethout; do ip link set $link up; done
    ip address add 10.77.0.1/24 dev br0
    ip address add fd77::1/64 dev br0 nodad
    ip address add 192.0.2.1/24 dev vethout
    ip address add 2001:db8::1/64 dev vethout nodad
    ip route add 10.77.0.200/32 via 192.0.2.2
    ip route add fd77::200/128 via 2001:db8::2
    in_pod() { nsenter --net=/run/netns/pod "$@"; }
    in_pod ip link set eth0 address 02:00:00:00:00:02
    in_pod ip link set eth0 up
    in_pod ip address add 10.77.0.2/24 dev eth0
    in_pod ip address add fd77::2/64 dev eth0 nodad
    in_pod ip route add default via 10.77.0.1
    in_pod ip route add default via fd77::1
    in_pod ip route add 10.77.0.200/32 via 10.77.0.1
    in_pod ip route add fd77::200/128 via fd77::1
    in_out() { nsenter --net=/run/netns/out "$@"; }
    in_out ip link set eth0 up
    for address in 192.0.2.2/24 192.0.2.3/24 10.77.0.200/32; do in_out ip address add $address dev eth0; done
    for address in 2001:db8::2/64 2001:db8::3/64 fd77::200/128; do in_out ip address add $address dev eth0 nodad; done
    in_out ip route add 10.77.0.0/24 via 192.0.2.1
    in_out ip route add fd77::/64 via 2001:db8::1
  `,
    {timeoutMs: 60_000},
  );
  const server =
    "net.createServer((s) => s.end(s.remoteAddress)).listen(8000, '::', () => console.log('up'))";
  const process_ = host.start(host.inNetns('out', [process.execPath, '-e', server]));
  await new Promise((resolve) => process_.stdout?.once('data', resolve));
}

/** Whom "out" at that address sees when the container connects to it. */
async function seenBy(host: TestHost, address: string): Promise<string> {
  const client = `net.connect({port: 8000, host: '${address}'}).pipe(process.stdout)`;
  const {stdout} = await host.run(host.inNetns('pod', [process.execPath, '-e', client]), {timeoutMs: 30_000});
  return stdout.replace(/^::ffff:/, '');
}

async function sees(t: ExecutionContext, host: TestHost, expected: Readonly<Record<string, string>>) {
  const seen: Record<string, string> = {};
  for (const address of Object.keys(expected)) seen[address] = await seenBy(host, address);
  t.deepEqual(seen, expected);
}

test('what leaves the subnet comes from the host, what stays in it or is exempt from the container', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await connect(host);
  const container = {'192.0.2.2': '10.77.0.2', '2001:db8::2': 'fd77::2'};
  await sees(t, host, container);
  const exemptDestinations = [parseCidr('192.0.2.3/32')!, parseCidr('2001:db8::3/128')!];
  await ensureMasquerade({nft}, {owner, ips, exemptDestinations});
  await sees(t, host, {
    '192.0.2.2': '192.0.2.1',
    '2001:db8::2': '2001:db8::1',
    '192.0.2.3': '10.77.0.2',
    '2001:db8::3': 'fd77::2',
    '10.77.0.200': '10.77.0.2',
    'fd77::200': 'fd77::2',
  });
  // Not iptables-legacy: in this process that would be the machine's.
  await removeMasquerade({nft}, owner, {ips, reference: false});
  await sees(t, host, container);
});

test('frames with another source address than the container was given are dropped', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await connect(host);
  const check = {hostVeth: 'vethpod', mac: '02:00:00:00:00:02'};
  await ensureMacSpoofCheck({nft}, owner, check);
  const ping = async () => {
    // What neighbours remember of the other address would decide otherwise.
    await host.run(['ip', 'neigh', 'flush', 'all']);
    await host.run(host.inNetns('pod', ['ip', 'neigh', 'flush', 'all']));
    const argv = ['ping', '-c', '1', '-W', '2', '10.77.0.1'];
    return (await host.run(host.inNetns('pod', argv), {mayFail: true})).code;
  };
  const setMac = (mac: string) =>
    host.run(host.inNetns('pod', ['ip', 'link', 'set', 'eth0', 'address', mac]));
  t.is(await ping(), 0);
  await setMac('02:00:00:00:00:66');
  t.is(await ping(), 1);
  await removeMacSpoofCheck({nft}, owner);
  t.is(await ping(), 0);
  await setMac(check.mac);
  t.is(await ping(), 0);
});
