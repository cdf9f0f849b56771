import test from 'ava';
import {describeAgent} from '../../cli/agent-status.ts';

test('what is wrong with an overlay is in the table as well', (t) => {
  const lines = describeAgent({
    version: '0.2.0',
    pid: 7,
    ready: true,
    notReady: [],
    modules: {
      overlay: {
        networks: [
          {
            name: 'pods',
            form: 'routed',
            ready: true,
            reasons: [],
            vni: 1,
            mtu: 1450,
            membership: {state: 'stale', reason: 'etcd: no endpoint answers; the last known members stand'},
            peers: [{id: 'b', state: 'left out', underlay: ['192.0.2.2'], subnets: ['10.244.2.0/24']}],
            conflicts: ['b claims the subnet 10.244.2.0/24, which belongs to a'],
            differs: ['ip route replace 10.244.3.0/24: not permitted'],
          },
        ],
      },
    },
  });
  t.deepEqual(lines, [
    'agent 0.2.0, process 7: ready',
    'overlay pods: routed, VNI 1, MTU 1450, membership stale; 1 peers',
    '  membership: etcd: no endpoint answers; the last known members stand',
    '  PEER  STATE     UNDERLAY   SUBNETS',
    '  b     left out  192.0.2.2  10.244.2.0/24',
    '  conflict: b claims the subnet 10.244.2.0/24, which belongs to a',
    '  differs: ip route replace 10.244.3.0/24: not permitted',
  ]);
});
