import {readFileSync} from 'node:fs';
import {attach, check} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin} from './harness/plugin.ts';
import {takeSnapshot} from './harness/snapshot.ts';

// What an older release left on a host, written down and made by hand: names, tags, tables, reservations. A release that
// calls them otherwise has to find these all the same.

const test = testWith('root');
const conf = bridgeNetwork({name: 'kept', cniVersion: '1.1.0', macspoofchk: true});

const prevResult = {
  cniVersion: '1.1.0',
  interfaces: [
    {mac: '06:ef:16:55:ea:c6', name: 'cni0'},
    {mac: '42:fc:8c:b2:b3:d6', name: 'veth20eefed6'},
    {mac: '82:f9:7e:ea:43:f2', name: 'eth0', sandbox: '/run/netns/old'},
  ],
  ips: [
    {address: '10.61.0.2/24', gateway: '10.61.0.1', interface: 2},
    {address: '2001:db8:61::2/64', gateway: '2001:db8:61::1', interface: 2},
  ],
  routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
};

/** As after `bridge` ADD of release 0.1.0 for container "old". */
async function makeOld(host: TestHost): Promise<void> {
  await host.addNetns('old');
  await host.sh(
    `ip link add cni0 address 06:ef:16:55:ea:c6 type bridge
    ip addr add 10.61.0.1/24 brd + dev cni0
    ip addr add 2001:db8:61::1/64 dev cni0 nodad
    ip link set cni0 up
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    ip link add veth20eefed6 address 42:fc:8c:b2:b3:d6 type veth \\
      peer name eth0 address 82:f9:7e:ea:43:f2 netns /run/netns/old
    ip link set veth20eefed6 master cni0 up
    ip link set veth20eefed6 alias '821a16cdb14cb2ff-c9fe90c1ae664c22, net: kept, if: eth0, id: old'
    ip -n old addr add 10.61.0.2/24 brd + dev eth0
    ip -n old addr add 2001:db8:61::2/64 dev eth0 nodad
    ip -n old link set eth0 up
    ip -n old route add default via 10.61.0.1
    ip -n old -6 route add default via 2001:db8:61::1
    mkdir -p /var/lib/cni/networks/kept
    cd /var/lib/cni/networks/kept
    for ip in 10.61.0.2 2001:db8:61::2; do printf 'old\\r\\neth0' > $ip; done
    nft -f -`,
    {stdin: readFileSync(new URL('golden/release-0.1.0.nft', import.meta.url), 'utf8')},
  );
}

const ways = {
  'DEL with everything': {command: 'DEL', netns: '/run/netns/old', prevResult},
  'DEL with neither namespace nor previous result': {command: 'DEL'},
  GC: {command: 'GC', attachments: [{containerID: 'b', ifname: 'eth0'}]},
} as const;

for (const [title, way] of Object.entries(ways))
  test(`0.1.0: ${title} removes what its ADD made, and nothing of a container beside it`, async (t) => {
    const host = await makeHost(t);
    await makeOld(host);
    const b = await attach(host, 'b', conf);
    t.deepEqual(b.addresses, ['10.61.0.3', '2001:db8:61::3']);
    const old = {conf, containerId: 'old', ifName: 'eth0'};
    await callPlugin(host, {...old, command: 'CHECK', netns: '/run/netns/old', prevResult});
    t.true((await listOld(host)).length > 5);
    await callPlugin(host, {...old, ...way});
    await host.removeNetns('old');
    t.deepEqual(await listOld(host), []);
    t.is((await check(host, b)).code, 0);
  });

/** All that is there of container "old". */
async function listOld(host: TestHost): Promise<readonly string[]> {
  return (await takeSnapshot(host)).filter((line) =>
    /\bold\b|20eefed6|10\.61\.0\.2\b|2001:db8:61::2\b/.test(line),
  );
}
