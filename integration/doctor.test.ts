import path from 'node:path';
import type {Finding} from '../cli/doctor/finding.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';

const test = testWith('root');
const weft = path.join(pluginDir, 'weft');

async function diagnose(
  host: TestHost,
  ...args: string[]
): Promise<{code: number | null; findings: Finding[]}> {
  const {code, stdout} = await host.run([weft, 'doctor', '--json', ...args], {mayFail: true});
  return {code, findings: JSON.parse(stdout) as Finding[]};
}

const conflist = (name: string, ...more: object[]) =>
  JSON.stringify({
    cniVersion: '1.0.0',
    name,
    plugins: [
      {
        type: 'bridge',
        bridge: 'br0',
        isGateway: true,
        ipMasq: true,
        ipam: {type: 'host-local', ranges: [[{subnet: '10.10.0.0/30'}]]},
      },
      ...more,
    ],
  });

async function attach(host: TestHost, network: string, netns: string): Promise<void> {
  await host.run([path.join(pluginDir, 'cnitool'), 'add', network, await host.addNetns(netns)], {
    env: {CNI_PATH: pluginDir, NETCONFPATH: '/etc/cni/net.d'},
  });
}

test('a node with a container in order has no problems', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/10-net.conflist', conflist('net').replace('/30', '/24'));
  await attach(host, 'net', 'pod');
  const {code, findings} = await diagnose(host);
  t.is(code, 0);
  t.deepEqual(
    findings.filter(({severity}) => severity === 'problem'),
    [],
  );
  t.true(findings.some(({subject, message}) => subject === 'configuration' && message === 'net'));
  const {stdout} = await host.run([weft, 'doctor']);
  t.regex(stdout, /^ok {4}configuration {2}net$/m);
});

test('IPv6 that is not passed on is a problem where a network gives IPv6 addresses', async (t) => {
  const host = await makeHost(t);
  const text = (subnet: string) => conflist('net').replace('10.10.0.0/30', subnet);
  await host.write('/etc/cni/net.d/10-net.conflist', text('10.10.0.0/24'));
  await attach(host, 'net', 'pod');
  await host.sh('echo 1 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding');
  const found = async () => (await diagnose(host)).findings.find(({subject}) => subject === 'forwarding');
  t.like(await found(), {severity: 'ok', message: 'net/ipv6/conf/all/forwarding is 0: no network uses IPv6'});
  await host.write('/etc/cni/net.d/10-net.conflist', text('fd00:10::/64'));
  t.like(await found(), {
    severity: 'problem',
    message: 'net/ipv6/conf/all/forwarding is 0: 1 containers reach nothing beyond this host over IPv6',
  });
});

test('what keeps containers from working is named with its remedy', async (t) => {
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/10-net.conflist', conflist('net', {type: 'no-such-plugin'}));
  await host.write('/etc/cni/net.d/11-broken.conflist', '{"name": ');
  await host.write('/etc/cni/net.d/12-attached.conflist', conflist('attached'));
  await attach(host, 'attached', 'pod');
  await host.sh(`
    echo 0 > /proc/sys/net/ipv4/ip_forward
    nft add table ip filter
    nft 'add chain ip filter FORWARD { type filter hook forward priority 0 ; policy drop ; }'
    nft 'add table ip nat ; add chain ip nat POSTROUTING { type nat hook postrouting priority 100 ; }'
    nft add rule ip nat POSTROUTING ip daddr 10.200.0.0/16 accept
    mkdir -p /etc/weft && echo '{}' > /etc/weft/agent.json
  `);
  const {code, findings} = await diagnose(host);
  t.is(code, 1);
  const problems = findings.filter(({severity}) => severity === 'problem');
  const says = (subject: string, message: RegExp, remedy: RegExp) =>
    t.true(
      problems.some(
        (each) => each.subject === subject && message.test(each.message) && remedy.test(each.remedy ?? ''),
      ),
      `${subject} ${String(message)} in ${JSON.stringify(problems, undefined, 1)}`,
    );
  says('configuration', /11-broken\.conflist/, /mend it/);
  says('configuration', /"net" needs the plugin no-such-plugin/, /install it/);
  says('forwarding', /ip_forward is 0: 1 containers/, /sysctl -w net\.ipv4\.ip_forward=1/);
  says('firewall', /ip filter FORWARD has the policy drop/, /"type": "firewall"/);
  says('addresses', /"attached": a set of ranges is used up/, /weft gc attached/);
  says('agent', /no agent runs/, /systemctl start weft-agent/);
  t.true(
    findings.some(
      ({subject, message}) => subject === 'masquerade' && message.startsWith('1 rules of ip nat POSTROUTING'),
    ),
  );
});
