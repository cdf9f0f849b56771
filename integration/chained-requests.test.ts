import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {failEachRequest} from './harness/requests.ts';

const test = testWith('root');

const setUp = `
ip -n pod link del eth0 2>/dev/null || true
ip -n pod rule flush; ip -n pod rule add from all lookup main pref 32766
ip -n pod -6 rule flush; ip -n pod -6 rule add from all lookup main pref 32766
ip -n pod link add eth0 address 02:00:00:00:00:01 mtu 1500 type veth peer name peer0
ip -n pod link set peer0 up
ip -n pod link set eth0 up
ip -n pod address add 10.2.0.7/24 dev eth0
ip -n pod address add fd00:2::7/64 dev eth0 nodad
ip -n pod route add default via 10.2.0.1
ip -n pod -6 route add default via fd00:2::1
rm -rf /run/cni/tuning
`;

const confs = {
  tuning: {
    sysctl: {'net.ipv4.conf.IFNAME.arp_filter': '1'},
    mac: '02:00:00:00:00:99',
    mtu: 1400,
    promisc: true,
    allmulti: true,
    txQLen: 500,
  },
  sbr: {gateways: ['10.2.0.1', 'fd00:2::1']},
  'sbr with hints': {addSourceHints: true},
  'sbr with a table': {table: 5001},
};

for (const [title, keys] of Object.entries(confs))
  for (const verb of ['ADD', 'DEL'] as const)
    test(`${title}: whichever netlink request of ${verb} fails, everything is as it was afterwards`, async (t) => {
      const host = await makeHost(t);
      const netns = await host.addNetns('pod');
      const prevResult = {
        cniVersion: '1.1.0',
        interfaces: [{name: 'eth0', mac: '02:00:00:00:00:01', sandbox: netns}],
        ips: [
          {address: '10.2.0.7/24', gateway: '10.2.0.1', interface: 0},
          {address: 'fd00:2::7/64', gateway: 'fd00:2::1', interface: 0},
        ],
      };
      const type = title.split(' ')[0]!;
      const conf = {cniVersion: '1.1.0', name: 'requests', type, ...keys, prevResult};
      const args = [verb, netns, setUp];
      const {failed} = await failEachRequest(t, host, {script: 'every-chained-request.ts', args, conf});
      t.true(failed > 1, `${failed} failed`);
    });
