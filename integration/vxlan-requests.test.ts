import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {failEachRequest} from './harness/requests.ts';

const test = testWith('root');

interface Case {
  readonly verb: 'ADD' | 'DEL';
  readonly form: 'routed' | 'l2';
  readonly loss: 'request' | 'answer';
  /** `cold`: tunnel and bridge are yet to be made, too. */
  readonly starts: readonly ('cold' | 'warm')[];
}

const failsEach = test.macro(async (t, {verb, form, loss, starts}: Case) => {
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
    args: [verb, netns, loss, ...starts],
    conf,
  });
  t.true(failed >= runs / 3, `${failed} of ${runs} failed`);
});

// The other halves differ in nothing that a loss would find: what they ask beyond these is the delegate's.
const cases = [
  {verb: 'ADD', form: 'routed', loss: 'request', starts: ['cold', 'warm']},
  {verb: 'ADD', form: 'l2', loss: 'answer', starts: ['cold']},
  {verb: 'DEL', form: 'l2', loss: 'request', starts: ['warm']},
] as const;

for (const each of cases)
  test.serial(
    `${each.form}: whichever ${each.loss} of ${each.verb} is lost, nothing stays of the container`,
    failsEach,
    each,
  );
