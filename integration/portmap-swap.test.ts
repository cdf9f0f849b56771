import type {ExecutionContext} from 'ava';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {ask, attachMapped, portmapConf, serve, unmap, type Mapped} from './harness/ports.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const mappings = [
  {hostPort: 8080, containerPort: 80, protocol: 'tcp'},
  {hostPort: 5353, containerPort: 53, protocol: 'udp'},
] as const;
const bridge = {ipMasq: false};

/** Everything of one container in any ruleset; chains that all share do not count. */
async function leftOf(host: TestHost, id: string): Promise<string[]> {
  const {stdout} = await host.sh(`nft list ruleset
    for tool in iptables-legacy ip6tables-legacy; do $tool-save -t nat; done 2>/dev/null | grep CNI-DN || true`);
  return stdout.split('\n').filter((line) => line.includes(id) || /CNI-(DN|SN)-/.test(line));
}

async function answers(t: ExecutionContext, host: TestHost, expected: readonly string[]): Promise<void> {
  const questions = [
    {address: '192.0.2.1', port: 8080},
    {address: '192.0.2.1', port: 5353, protocol: 'udp'},
    {address: '2001:db8:2::1', port: 8080},
  ] as const;
  t.deepEqual(await ask(host, 'outside', ...questions), expected);
}

const reached = ['web sees 192.0.2.2', 'web sees 192.0.2.2', 'web sees 2001:db8:2::2'];
const refused = ['ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED'];

async function prepare(t: ExecutionContext, dir?: string): Promise<{host: TestHost; web: Mapped}> {
  const host = await makeHost(t);
  await addOutside(host);
  const web = await attachMapped(host, 'web', mappings, {bridge, ...(dir !== undefined && {dir})});
  await serve(host, 'web', 'web', 80, 53);
  await answers(t, host, reached);
  return {host, web};
}

for (const [title, more] of [
  ['', {}],
  [', without runtimeConfig and prevResult', {conf: portmapConf('ports', []), prevResult: undefined}],
] as const)
  test(`ports that the reference mapped are removed by ours${title}`, async (t) => {
    const {host, web} = await prepare(t, referenceDir());
    t.true((await leftOf(host, 'web')).length > 0);
    const call = {...web.call, ...more};
    delete (call as {dir?: string}).dir;
    // They work: our CHECK is content until one of the rules is gone.
    const check = {...web.call, dir: pluginDir, command: 'CHECK'} as const;
    await callPlugin(host, check);
    await host.sh('iptables -t nat -F OUTPUT');
    t.regex((await tryPlugin(host, check)).reply?.msg ?? '', /^port 8080\/tcp is not forwarded/);
    await callPlugin(host, {...call, command: 'DEL'});
    t.deepEqual(await leftOf(host, 'web'), []);
    await callPlugin(host, {...call, command: 'DEL'});
    await answers(t, host, refused);
  });

for (const [title, more] of [
  ['', {}],
  [', without runtimeConfig', {conf: portmapConf('ports', [])}],
] as const)
  test(`ports that the reference mapped with iptables-legacy are removed by ours${title}`, async (t) => {
    const host = await makeHost(t);
    const attached = await attachMapped(host, 'web', [], {bridge});
    await host.sh(`mkdir /run/tools; for tool in iptables ip6tables; do for verb in '' -save -restore; do
    ln -s $(command -v $tool-legacy$verb) /run/tools/$tool$verb; done; done`);
    const options = {env: {PATH: '/run/tools:/usr/sbin:/usr/bin:/sbin:/bin'}};
    const call = {...attached.call, conf: portmapConf('ports', mappings)};
    await callPlugin(host, {...call, dir: referenceDir(), options, command: 'ADD'});
    t.true((await leftOf(host, 'web')).length > 0);
    await callPlugin(host, {...call, options, command: 'CHECK'});
    await callPlugin(host, {...call, ...more, command: 'DEL'});
    t.is((await tryPlugin(host, {...call, options, command: 'CHECK'})).code, 1);
    t.deepEqual(await leftOf(host, 'web'), []);
  });

test("ports that the reference's nftables backend mapped are removed by ours, those of others stay", async (t) => {
  const host = await makeHost(t);
  const rules = (id: string, port: number) => `
    add rule ip cni_hostport hostports tcp dport ${port} dnat to 10.61.0.2:80 comment "${id}"
    add rule ip cni_hostport masquerading ip saddr 10.61.0.2 ip daddr 10.61.0.2 masquerade comment "${id}"
    add rule ip6 cni_hostport hostports tcp dport ${port} dnat to [2001:db8:61::2]:80 comment "${id}"`;
  const chains = ['ip', 'ip6'].map(
    (family) => `
    add table ${family} cni_hostport { comment "CNI portmap plugin" ; }
    add chain ${family} cni_hostport hostports
    add chain ${family} cni_hostport hostip_hostports
    add chain ${family} cni_hostport hostports_all
    add rule ${family} cni_hostport hostports_all jump hostip_hostports
    add rule ${family} cni_hostport hostports_all jump hostports
    add chain ${family} cni_hostport prerouting { type nat hook prerouting priority -100 ; }
    add rule ${family} cni_hostport prerouting fib daddr type local jump hostports_all
    add chain ${family} cni_hostport masquerading { type nat hook postrouting priority 100 ; }`,
  );
  await host.run(['nft', '-f', '-'], {
    stdin: `${chains.join('')}${rules('web', 8080)}${rules('other', 8081)}`,
  });
  const call = {conf: portmapConf('ports', []), containerId: 'web', netns: '', command: 'DEL'} as const;
  t.is((await leftOf(host, '"web"')).length, 3);
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{name: 'eth0', sandbox: '/run/netns/web'}],
    ips: [
      {address: '10.61.0.2/24', interface: 0},
      {address: '2001:db8:61::2/64', interface: 0},
    ],
  };
  const check = {...call, netns: '/run/netns/web', prevResult, command: 'CHECK'} as const;
  const mapped = {...check, conf: portmapConf('ports', [{hostPort: 8080, containerPort: 80}])};
  await callPlugin(host, mapped);
  const more = portmapConf('ports', mappings);
  t.is((await tryPlugin(host, {...mapped, conf: more})).code, 1);
  await callPlugin(host, call);
  t.is((await tryPlugin(host, mapped)).code, 1);
  t.deepEqual(await leftOf(host, '"web"'), []);
  t.is((await leftOf(host, '"other"')).length, 3);
});

test('ports that ours mapped are harmless after the reference removed the container, and go to its successor', async (t) => {
  const {host, web} = await prepare(t);
  // 1.1.1 looks for its own chains only; the interface goes with its own plugin.
  await tryPlugin(host, {...web.call, dir: referenceDir(), command: 'DEL'});
  await host.sh(`ip link del ${web.attached.port}`);
  t.true((await leftOf(host, 'id: web')).length > 0);
  const next = await attachMapped(host, 'next', mappings, {bridge});
  await serve(host, 'next', 'next', 80, 53);
  await answers(
    t,
    host,
    reached.map((text) => text.replace('web', 'next')),
  );
  t.deepEqual(
    (await leftOf(host, 'id: web')).filter((line) => line.includes('8080')),
    [],
  );
  await unmap(host, next);
  await callPlugin(host, {
    command: 'GC',
    conf: {...portmapConf('ports', []), cniVersion: '1.1.0'},
    attachments: [],
  });
  t.deepEqual(await leftOf(host, 'id: web'), []);
});

test('a container of ours and one of the reference live side by side', async (t) => {
  const {host, web} = await prepare(t, referenceDir());
  const ours = await attachMapped(host, 'ours', [{hostPort: 8081, containerPort: 80, protocol: 'tcp'}], {
    bridge,
  });
  await serve(host, 'ours', 'ours', 80);
  await answers(t, host, reached);
  const there = () => ask(host, 'outside', {address: '192.0.2.1', port: 8081});
  t.deepEqual(await there(), ['ours sees 192.0.2.2']);
  await unmap(host, web);
  t.deepEqual(await there(), ['ours sees 192.0.2.2']);
  await unmap(host, ours);
  t.deepEqual(await there(), ['ECONNREFUSED']);
});
