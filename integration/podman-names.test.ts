import {ensurePackages} from './harness/debian.ts';
import {startAgentOn} from './harness/agent.ts';
import {makeHost} from './harness/host.ts';
import {askDns, dataOf} from './harness/names.ts';
import {testWith} from './harness/needs.ts';
import {pluginDir} from './harness/paths.ts';
import {setUpPodman} from './harness/podman.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';
import {podmansOwn} from './harness/podman-chain.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('podman');
});

/** As `podman network create` of a podman with dnsname writes it: not a word is changed for us. */
const conflist = {
  cniVersion: '0.4.0',
  name: 'shop',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni-podman1',
      isGateway: true,
      ipMasq: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        routes: [{dst: '0.0.0.0/0'}],
        ranges: [[{subnet: '10.89.1.0/24', gateway: '10.89.1.1'}]],
      },
    },
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'firewall', backend: ''},
    {type: 'tuning'},
    {type: 'dnsname', domainName: 'dns.podman', capabilities: {aliases: true}},
  ],
};

test('containers of podman fetch from each other by name and by alias, with the configuration that dnsname had', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  await host.write('/etc/cni/net.d/shop.conflist', JSON.stringify(conflist));
  const podman = await setUpPodman(host, [pluginDir]);
  await startAgentOn(host);
  const before = await takeSnapshot(host);
  const serve = ['busybox', '/bin/httpd', '-f', '-h', '/www'];
  const run = (name: string, ...more: string[]) =>
    podman.run(['run', '-d', '--name', name, ...podman.limits, '--network', 'shop', ...more, ...serve]);
  await run('service1');
  await run('service2', '--network-alias', 'backend', '--network-alias', 'db');
  const fetch = async (from: string, name: string) =>
    (await podman.run(['exec', from, 'wget', '-qO-', `http://${name}/`])).stdout;
  const resolvConf = (await podman.run(['exec', 'service1', 'cat', '/etc/resolv.conf'])).stdout;
  t.regex(resolvConf, /search .*dns\.podman[\s\S]*nameserver 10\.89\.1\.1\n/);
  for (const name of ['service2', 'service2.dns.podman', 'backend', 'db.dns.podman']) {
    t.is(await fetch('service1', name), 'a page of weft\n', name);
  }
  t.is(await fetch('service2', 'service1'), 'a page of weft\n');
  await podman.run(['rm', '--force', '--time', '0', 'service2']);
  const [denied] = await askDns(host, undefined, [{server: '10.89.1.1', name: 'backend.dns.podman'}]);
  t.is(denied!.rcode, 'NXDOMAIN');
  // It comes back with another address, and is found there at once.
  await run('service2', '--network-alias', 'backend');
  t.is(await fetch('service1', 'backend'), 'a page of weft\n');
  const [found] = await askDns(host, undefined, [{server: '10.89.1.1', name: 'backend'}]);
  t.deepEqual(dataOf(found!), ['10.89.1.4']);
  await podman.run(['rm', '--force', '--time', '0', 'service2', 'service1']);
  await assertNothingLeft(t, host, before, [...staysByDesign, ...podmansOwn]);
});
