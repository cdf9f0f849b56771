import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {failEachRequest} from './harness/requests.ts';

const test = testWith('root');

const failsEach = test.macro(async (t, verb: 'ADD' | 'DEL') => {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const conf = bridgeNetwork({
    name: 'requests',
    cniVersion: '1.1.0',
    macspoofchk: true,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      dataDir: '/run/leases',
      ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]],
      routes: [{dst: '0.0.0.0/0'}, {dst: '::/0'}],
    },
  });
  const {runs, failed} = await failEachRequest(t, host, {
    script: 'every-request.ts',
    args: [verb, netns],
    conf,
  });
  // What is asked again after a refusal is no error; nor is the run after the last request.
  t.true(failed >= runs / 2 - 2, `${failed} of ${runs} failed`);
});

test('whichever netlink request of an ADD fails, the ADD takes back what it did', failsEach, 'ADD');
test('whichever netlink request of a DEL fails, the next DEL removes the rest', failsEach, 'DEL');
