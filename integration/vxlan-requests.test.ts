import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {failEachRequest} from './harness/requests.ts';

const test = testWith('root');

const failsEach = test.macro(async (t, {verb, form, loss}: {verb: string; form: string; loss: string}) => {
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
    args: [verb, netns, loss],
    conf,
  });
  t.true(failed >= runs / 3, `${failed} of ${runs} failed`);
});

// The other halves differ in nothing that a loss would find: what they ask beyond these is the delegate's.
const cases = [
  ['ADD', 'routed', 'request'],
  ['ADD', 'l2', 'answer'],
  ['DEL', 'l2', 'request'],
] as const;

for (const [verb, form, loss] of cases)
  test.serial(`${form}: whichever ${loss} of ${verb} is lost, nothing stays of the container`, failsEach, {
    verb,
    form,
    loss,
  });
