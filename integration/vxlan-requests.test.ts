import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {failEachRequest} from './harness/requests.ts';

const test = testWith('root');

const failsEach = test.macro(async (t, verb: 'ADD' | 'DEL', form: 'routed' | 'l2') => {
  t.timeout(300_000);
  const rig = await makeRig(t, {hosts: 1});
  const {host, ipv4} = rig.host('h1');
  const netns = await host.addNetns('pod');
  const conf = {
    cniVersion: '1.1.0',
    name: 'requests',
    type: 'vxlan',
    delegate: {isDefaultGateway: true},
    static: {
      form,
      network: ['10.244.0.0/16', 'fd00:244::/48'],
      nodes: [
        {name: 'h1', publicIP: ipv4, subnets: ['10.244.1.0/24', 'fd00:244:0:1::/64']},
        {name: 'other', publicIP: '192.168.50.99', subnets: ['10.244.2.0/24', 'fd00:244:0:2::/64']},
      ],
    },
  };
  const {runs, failed} = await failEachRequest(t, host, {
    script: 'every-vxlan-request.ts',
    args: [verb, netns],
    conf,
  });
  t.true(failed >= runs / 3, `${failed} of ${runs} failed`);
});

for (const form of ['routed', 'l2'] as const) {
  test.serial(
    `${form}: whichever netlink request of an ADD fails, the ADD takes back what it did`,
    failsEach,
    'ADD',
    form,
  );
  test.serial(
    `${form}: whichever netlink request of a DEL fails, the next DEL removes the rest`,
    failsEach,
    'DEL',
    form,
  );
}
