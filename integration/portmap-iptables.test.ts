import {ensurePackages} from './harness/debian.ts';
import {makeHost, startHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';
import {ask, attachMapped, checkMapped, portmapConf, serve, type PortMapping} from './harness/ports.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

const web = {hostPort: 8080, containerPort: 80, protocol: 'tcp'} as const;
const several: readonly PortMapping[] = [
  web,
  {hostPort: 5353, containerPort: 53, protocol: 'udp'},
  {...web, hostPort: 8081, hostIP: '192.0.2.1'},
  {...web, hostPort: 8082, hostIP: '2001:db8:2::1'},
  {...web, hostPort: 8083, hostIP: '0.0.0.0'},
  // More than fit into one rule.
  ...Array.from({length: 17}, (_, i) => ({hostPort: 9000 + i, containerPort: 80, protocol: 'tcp'})),
];

/** The rules of the nat tables of both families, without counters and what is always there. */
async function rules(host: TestHost, variant = ''): Promise<string[]> {
  const {stdout} = await host.sh(`iptables${variant}-save -t nat; echo; ip6tables${variant}-save -t nat`);
  return stdout.split('\n').filter((line) => /^(-A|:CNI)/.test(line));
}

/** Makes the tools' plain names those of a variant, and returns the environment for that. */
async function useVariant(host: TestHost, variant: string): Promise<{PATH: string}> {
  await host.sh(`mkdir /run/tools; for tool in iptables ip6tables; do for verb in '' -save -restore; do
    ln -s $(command -v $tool${variant}$verb) /run/tools/$tool$verb; done; done`);
  return {PATH: `/run/tools:/usr/sbin:/usr/bin:/sbin:/bin`};
}

/** The tools of iptables that a call starts, by their names. */
async function tools(host: TestHost, run: (under: readonly string[]) => Promise<unknown>): Promise<string[]> {
  await run(['strace', '-f', '-qq', '-e', 'trace=execve', '-e', 'status=successful', '-o', '/run/trace']);
  const started = (await host.read('/run/trace')).matchAll(/execve\("[^"]*\/([^"/]+)"/g);
  const names = [...started].map(([, file = '']) => file).filter((file) => /^ip6?tables/.test(file));
  // Each is the wrapper that finds the unpacked libraries, and then the tool itself.
  return names.filter((name) => !/-(nft|legacy)/.test(name)).sort();
}

for (const [title, portmap] of [
  ['its defaults', {}],
  ['snat false', {snat: false}],
  ['a mark bit', {markMasqBit: 4}],
  ['conditions', {conditionsV4: ['!', '-d', '192.0.2.9'], conditionsV6: ['-s', '2001:db8::/32']}],
  ["somebody else's chain", {externalSetMarkChain: 'KUBE-MARK-MASQ'}],
] as const)
  test(`with iptables and ${title} the rules are those of the reference`, async (t) => {
    const made: string[][] = [];
    for (const dir of [referenceDir(), undefined]) {
      // Not by makeHost: of those all tests together have three, and hold them to their end.
      const host = await startHost();
      t.teardown(() => host.close());
      await host.sh('for tool in iptables ip6tables; do $tool -t nat -N KUBE-MARK-MASQ; done');
      const one = await attachMapped(host, 'one', several, {
        ...(dir !== undefined && {dir}),
        bridge: {ipMasq: false},
        portmap: {...portmap, ...(dir === undefined && {backend: 'iptables'})},
      });
      await attachMapped(host, 'two', [{...web, hostPort: 8888}], {
        ...(dir !== undefined && {dir}),
        bridge: {ipMasq: false},
        portmap: {...portmap, ...(dir === undefined && {backend: 'iptables'})},
      });
      made.push(await rules(host));
      if (dir === undefined) {
        const {code, stdout} = await checkMapped(host, one);
        t.is(code, 0, stdout);
        // That the ports are taken is written down, and no packet looks there.
        t.notRegex((await host.run(['nft', 'list', 'table', 'inet', 'weft'])).stdout, /hook|dnat/);
      }
      await host.close();
    }
    const [reference = [], ours = []] = made;
    t.true(reference.length > 20);
    t.deepEqual(ours, reference);
  });

for (const variant of ['-nft', '-legacy'])
  test(`one iptables${variant}-restore for each family, also the first time, and nothing to remove a container`, async (t) => {
    const host = await makeHost(t);
    const env = await useVariant(host, variant);
    const made = async (name: string, hostPort: number) => {
      const {call} = await attachMapped(host, name, []);
      const conf = portmapConf('ports', [{...web, hostPort}], {backend: 'iptables'});
      const of = {...call, conf, options: {env}};
      const count = (command: 'ADD' | 'DEL') =>
        tools(host, (under) => callPlugin(host, {...of, command, under}));
      return {add: () => count('ADD'), del: () => count('DEL')};
    };
    const one = await made('one', 8080);
    t.deepEqual(await one.add(), ['ip6tables-restore', 'iptables-restore']);
    const two = await made('two', 8081);
    t.deepEqual(await two.add(), ['ip6tables-restore', 'iptables-restore']);
    // Again: what is there is read and completed.
    const again = ['ip6tables-restore', 'ip6tables-restore', 'ip6tables-save'];
    t.deepEqual(await two.add(), [...again, ...again.map((name) => name.replace('ip6', 'ip'))]);
    // What iptables-legacy has, only its tools show.
    t.deepEqual(
      await two.del(),
      variant === '-nft' ? [] : ['ip6tables-restore', 'ip6tables-save', 'iptables-restore', 'iptables-save'],
    );
    const left = (await rules(host, variant)).filter((line) => /dport 80|dports/.test(line));
    t.true(left.length > 0);
    t.deepEqual(
      left.filter((line) => line.includes('8081')),
      [],
    );
  });

for (const variant of ['-nft', '-legacy'])
  test(`the backend iptables${variant} forwards, repairs what was flushed, and is removed`, async (t) => {
    const host = await makeHost(t);
    const outside = await addOutside(host);
    const options = {env: await useVariant(host, variant)};
    const one = await attachMapped(host, 'one', []);
    await serve(host, 'one', 'one', 80);
    const conf = portmapConf('ports', [web], {backend: 'iptables'});
    const call = {...one.call, conf, options};
    await callPlugin(host, {...call, command: 'ADD'});
    const [v4, v6] = outside.hostAddresses;
    const everywhere = async () => [
      ...(await ask(host, 'outside', {address: v4, port: 8080}, {address: v6, port: 8080})),
      ...(await ask(host, undefined, {address: '127.0.0.1', port: 8080})),
      ...(await ask(host, 'one', {address: v4, port: 8080})),
    ];
    const expected = [
      'one sees 192.0.2.2',
      'one sees 2001:db8:2::2',
      'one sees 10.61.0.1',
      'one sees 10.61.0.1',
    ];
    t.deepEqual(await everywhere(), expected);
    const before = await rules(host, variant);
    // Again; with a chain flushed that leads to the others; with everything flushed but the chains.
    for (const flush of ['true', `iptables${variant} -t nat -F PREROUTING`, `iptables${variant} -t nat -F`]) {
      await host.sh(flush);
      const {code, reply} = await tryPlugin(host, {...call, command: 'CHECK'});
      t.is(code, flush === 'true' ? 0 : 1);
      if (code !== 0)
        t.regex(reply?.msg ?? '', /^iptables: the rule "-A PREROUTING -m addrtype.* is missing/);
      await callPlugin(host, {...call, command: 'ADD'});
      t.deepEqual((await rules(host, variant)).toSorted(), before.toSorted(), flush);
    }
    t.deepEqual(await everywhere(), expected);
    await callPlugin(host, {...call, command: 'DEL'});
    t.deepEqual(
      (await rules(host, variant)).filter((line) => line.includes('CNI-DN')),
      [],
    );
  });

for (const variant of ['-nft', '-legacy'])
  test(`GC removes what the reference made with iptables${variant}, also releases before 0.8`, async (t) => {
    const host = await makeHost(t);
    const make = (id: string, prefix: string, chain: string) => `
      iptables${variant} -t nat -N CNI-${prefix}-${chain} && iptables${variant} -t nat -A CNI-${prefix}-${chain} -j ACCEPT
      iptables${variant} -t nat -A CNI-HOSTPORT-${prefix}AT -m comment --comment '${prefix.toLowerCase()}at name: "mynet" id: "${id}"' -j CNI-${prefix}-${chain}`;
    // The reference's vector of a name: network mynet, container cid1.
    await host.sh(`
      iptables${variant} -t nat -N CNI-HOSTPORT-DNAT; iptables${variant} -t nat -N CNI-HOSTPORT-SNAT
      ${make('cid1', 'DN', 'a631aa8e1549a3b129110')}
      ${make('cid1', 'SN', 'a631aa8e1549a3b129110')}`);
    const gc = (keep: string) =>
      callPlugin(host, {
        command: 'GC',
        conf: {...portmapConf('mynet', []), cniVersion: '1.1.0'},
        attachments: [{containerID: keep, ifname: 'eth0'}],
      });
    await gc('cid1');
    t.is((await rules(host, variant)).length, 8);
    await gc('cid2');
    t.deepEqual(await rules(host, variant), [':CNI-HOSTPORT-DNAT - [0:0]', ':CNI-HOSTPORT-SNAT - [0:0]']);
  });

test('without iptables the error says what to install', async (t) => {
  const host = await makeHost(t);
  const one = await attachMapped(host, 'one', []);
  const conf = portmapConf('ports', [web], {backend: 'iptables'});
  await host.sh('mkdir /run/empty; for d in /usr/sbin /sbin; do mount --bind /run/empty $d; done');
  const call = {...one.call, conf, under: ['/usr/bin/env', 'PATH=/nonexistent']};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(reply?.msg, 'neither iptables nor ip6tables is usable');
  t.regex(reply?.details ?? '', /install the package iptables/);
  // What others made is removed all the same.
  await callPlugin(host, {...call, command: 'DEL'});
});
