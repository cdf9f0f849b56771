import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {
  checkIptables,
  formatRestore,
  planAddressRemoval,
  planIptables,
  planLegacyAdmission,
} from '../../../plugins/firewall/iptables-rules.ts';

const ips = [parseIp('10.1.0.5')!];
const wanted = {ips, adminChain: 'CNI-ADMIN', isolation: undefined};
const empty = '*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n';

const jump = '-m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD';
const admin = '-m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN';
const back = '-d 10.1.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT';
const made = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:CNI-ADMIN - [0:0]
:CNI-FORWARD - [0:0]
-A FORWARD ${jump}
-A CNI-FORWARD ${admin}
-A CNI-FORWARD ${back}
-A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT
COMMIT
`;

test('all of it is made where there is nothing, and nothing where all is there', (t) => {
  t.is(
    formatRestore(planIptables(wanted, empty)),
    `*filter
-N CNI-FORWARD
-N CNI-ADMIN
-I FORWARD 1 ${jump}
-I CNI-FORWARD 1 ${admin}
-A CNI-FORWARD ${back}
-A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT
COMMIT
`,
  );
  t.deepEqual(planIptables(wanted, made), []);
  t.deepEqual(planIptables({...wanted, ips: [...ips, parseIp('10.1.0.6')!]}, made), [
    '-A CNI-FORWARD -d 10.1.0.6/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
    '-A CNI-FORWARD -s 10.1.0.6/32 -j ACCEPT',
  ]);
});

test('an isolated bridge drops between its own containers as well', (t) => {
  const note = '-m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)"';
  const isolation = {policy: 'isolated', bridge: 'br0'} as const;
  t.deepEqual(planIptables({...wanted, isolation}, made), [
    '-N CNI-ISOLATION-STAGE-1',
    '-N CNI-ISOLATION-STAGE-2',
    `-I FORWARD 1 ${note} -j CNI-ISOLATION-STAGE-1`,
    `-I CNI-ISOLATION-STAGE-1 1 -i br0 ! -o br0 ${note} -j CNI-ISOLATION-STAGE-2`,
    `-I CNI-ISOLATION-STAGE-1 1 -i br0 -o br0 ${note} -j DROP`,
    `-A CNI-ISOLATION-STAGE-1 ${note} -j RETURN`,
    `-I CNI-ISOLATION-STAGE-2 1 -o br0 ${note} -j DROP`,
    `-A CNI-ISOLATION-STAGE-2 ${note} -j RETURN`,
  ]);
});

test("what is missing is said in the reference's words", (t) => {
  t.deepEqual(checkIptables(wanted, made), []);
  t.deepEqual(checkIptables(wanted, empty), [
    'expected chain CNI-FORWARD not found',
    'expected chain CNI-ADMIN not found',
    'expected FORWARD rule [-m comment --comment CNI firewall plugin rules -j CNI-FORWARD] not found',
    'expected CNI-FORWARD rule [-m comment --comment CNI firewall plugin admin overrides -j CNI-ADMIN] not found',
    'expected rule [-d 10.1.0.5/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT] not found',
    'expected rule [-s 10.1.0.5/32 -j ACCEPT] not found',
  ]);
});

test('rules of an address are removed as often as they are there, those of others stay', (t) => {
  const twice = made.replace(
    'COMMIT',
    '-A CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT\n-A CNI-FORWARD -s 10.1.0.50/32 -j ACCEPT\nCOMMIT',
  );
  t.deepEqual(planAddressRemoval(ips, twice), [
    `-D CNI-FORWARD ${back}`,
    '-D CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT',
    '-D CNI-FORWARD -s 10.1.0.5/32 -j ACCEPT',
  ]);
  t.deepEqual(planAddressRemoval(ips, empty), []);
});

const admission = '-m mark --mark 0x1000/0x1000 -m comment --comment "weft: traffic of containers" -j ACCEPT';

test('iptables-legacy gets one rule, first in FORWARD', (t) => {
  t.deepEqual(planLegacyAdmission(0x1000, empty), [`-I FORWARD 1 ${admission}`]);
  for (const rule of [admission, '-m mark --mark 0x1000/0x1000 -j ACCEPT'])
    t.deepEqual(planLegacyAdmission(0x1000, empty.replace('COMMIT', `-A FORWARD ${rule}\nCOMMIT`)), []);
  t.deepEqual(
    planLegacyAdmission(0x2000, empty.replace('COMMIT', `-A FORWARD ${admission}\nCOMMIT`)).length,
    1,
  );
  t.deepEqual(planLegacyAdmission(0x1000, ''), []);
});

test('it comes behind what the reference has there, with rules of the administrator', (t) => {
  t.deepEqual(planLegacyAdmission(0x1000, made), [`-I FORWARD 2 ${admission}`]);
  const more = made.replace('COMMIT', '-A FORWARD -j DOCKER-USER\nCOMMIT');
  t.deepEqual(planLegacyAdmission(0x1000, more), [`-I FORWARD 2 ${admission}`]);
});

test('where Docker is, it is in DOCKER-USER, in front of what returns all', (t) => {
  const docker = (...rules: string[]) =>
    empty.replace(
      'COMMIT',
      ['-A FORWARD -j DOCKER-USER', ...rules.map((rule) => `-A DOCKER-USER ${rule}`), 'COMMIT'].join('\n'),
    );
  t.deepEqual(planLegacyAdmission(0x1000, docker()), [`-A DOCKER-USER ${admission}`]);
  t.deepEqual(planLegacyAdmission(0x1000, docker('-j RETURN')), [`-I DOCKER-USER 1 ${admission}`]);
  t.deepEqual(planLegacyAdmission(0x1000, docker('-s 10.0.0.1/32 -j DROP', '-j RETURN')), [
    `-I DOCKER-USER 2 ${admission}`,
  ]);
  t.deepEqual(planLegacyAdmission(0x1000, docker(admission)), []);
  // A chain that nothing leads to, left by a Docker that is gone.
  const left = empty.replace('COMMIT', `-A DOCKER-USER ${admission}\nCOMMIT`);
  t.deepEqual(planLegacyAdmission(0x1000, left), [`-I FORWARD 1 ${admission}`]);
});
