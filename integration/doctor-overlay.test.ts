import path from 'node:path';
import type {Finding} from '../cli/doctor/finding.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {startStatic} from './harness/overlay-cluster.ts';
import {makeRig, type RigHost} from './harness/overlay-rig.ts';
import {pluginDir} from './harness/paths.ts';

const test = testWith('root');
const weft = path.join(pluginDir, 'weft');

async function diagnose({host}: RigHost): Promise<readonly Finding[]> {
  const {stdout} = await host.run([weft, 'doctor', '--json'], {mayFail: true});
  const findings = JSON.parse(stdout) as Finding[];
  return findings.filter(({subject}) => subject.startsWith('overlay'));
}

test('weft doctor and weft status know the peers of an overlay, and what is in the way to each', async (t) => {
  const rig = await makeRig(t, {hosts: 3, far: true});
  await startStatic(rig);
  const h1 = rig.host('h1');
  const says = async (pattern: RegExp) => {
    let last: readonly Finding[] = [];
    await waitFor(
      `doctor says ${String(pattern)}`,
      async () => {
        last = await diagnose(h1);
        return last.some(({message, remedy = ''}) => pattern.test(`${message} -> ${remedy}`));
      },
      {explain: () => JSON.stringify(last, undefined, 1), intervalMs: 200},
    );
  };
  // The far host is behind a link of 1,400 bytes: what is sent whole to it is too large.
  await says(/peer far: packets of 1430 bytes are (too large|lost).*mend the link/s);
  const first = await diagnose(h1);
  t.false(
    first.some(({message}) => /peer h[23]/.test(message)),
    JSON.stringify(first),
  );
  const {stdout} = await h1.host.run([weft, 'status']);
  t.regex(stdout, /^agent \S+, process \d+: ready$/m);
  t.regex(stdout, /^overlay pods: routed, VNI 1, MTU 1430, membership ready; 3 peers$/m);
  t.regex(stdout, /^ {2}h2 +programmed +192\.168\.50\.12 /m);

  await rig.host('h2').host.sh(
    `nft add table inet closed
     nft 'add chain inet closed input { type filter hook input priority 0 ; }'
     nft add rule inet closed input udp dport 8472 drop`,
  );
  await rig.host('h3').unplug();
  await says(
    /peer h2: the host answers at 192\.168\.50\.12, but nothing comes through the tunnel.*UDP port/s,
  );
  await says(/peer h3 does not answer at 192\.168\.50\.13/);
  await h1.host.sh(`ip link add flannel.99 type vxlan id 99 dstport 8472 dev eth0
    nft add table inet mine
    nft 'add chain inet mine input { type filter hook input priority 0 ; policy drop ; }'`);
  await says(/the device flannel\.99 belongs to no network/);
  await says(/mine input drops what comes in.*UDP port 8472/s);
});

test('of a segment the underlay is asked, since its tunnels have no addresses; what another network left is named', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  await startStatic(rig, {more: {form: 'l2'}, config: {network: {form: 'l2'}}});
  const h1 = rig.host('h1');
  t.deepEqual(await diagnose(h1), [
    {
      severity: 'ok',
      subject: 'overlay pods',
      message: '1 of 1 peers asked, all answer with packets of 1450 bytes',
    },
  ]);
  await h1.host.sh(`ip link add flannel.98 type vxlan id 98 dstport 8472 dev eth0
    ip link set flannel.98 alias 'weft overlay gone'`);
  // Ways narrower than they look: the outer packet of the largest inner one does not get through.
  await rig.host('h2').host.run(['ip', 'link', 'set', 'eth0', 'mtu', '1400']);
  await rig.underlay.run(['ip', 'link', 'set', 'h2', 'mtu', '1400']);
  const found = await diagnose(h1);
  const says = (message: RegExp, remedy: RegExp) =>
    t.true(
      found.some((each) => message.test(each.message) && remedy.test(each.remedy ?? '')),
      JSON.stringify(found, undefined, 1),
    );
  says(/peer h2: packets of 1500 bytes are (too large|lost)/, /mend the link/);
  says(/flannel\.98 is of the overlay network gone/, /weft overlay cleanup --force --network gone/);
  await rig.host('h2').unplug();
  t.true((await diagnose(h1)).some(({message}) => message === 'peer h2 does not answer at 192.168.50.12'));
});

test('flanneld beside the agent, what it left, and secrets that others may read', async (t) => {
  const rig = await makeRig(t, {hosts: 1});
  await startStatic(rig);
  const {host} = rig.host('h1');
  const all = async () => {
    const {stdout} = await host.run([weft, 'doctor', '--json', '--agent-conf', '/etc/weft/other.json'], {
      mayFail: true,
    });
    return JSON.parse(stdout) as Finding[];
  };
  await host.sh(`cp "$(command -v sleep)" /run/flanneld
    for name in secret password tight; do echo something > /etc/weft/$name; done
    chmod 644 /etc/weft/secret; chmod 640 /etc/weft/password; chmod 600 /etc/weft/tight
    nft add table ip nat
    nft add chain ip nat FLANNEL-POSTRTG`);
  const networks = [
    {
      encryption: {
        secrets: [
          {id: 0, file: '/etc/weft/secret'},
          {id: 1, file: '/etc/weft/tight'},
        ],
      },
      membership: {passwordFile: '/etc/weft/password'},
    },
  ];
  await host.write('/etc/weft/other.json', JSON.stringify({overlay: {networks}}));
  const before = await all();
  t.deepEqual(
    before.filter(({subject}) => subject === 'secrets').map(({severity, remedy}) => [severity, remedy]),
    [
      ['warning', 'chmod 600 /etc/weft/secret'],
      ['warning', 'chmod 600 /etc/weft/password'],
    ],
  );
  t.true(
    before.some(({message}) => /flanneld's masquerading is still in iptables/.test(message)),
    JSON.stringify(before),
  );
  host.start(['/run/flanneld', '60']);
  await waitFor('the process', async () =>
    (await all()).some(
      ({severity, message}) => severity === 'problem' && message.startsWith('flanneld runs on this host'),
    ),
  );
});
