import {fileURLToPath} from 'node:url';
import type {DriverCall} from '../test/helpers/masquerade-driver.ts';
import {testWith} from './harness/needs.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';

const test = testWith('root', 'apt');

// iptables is run by processes on the test host: never by this one, whose tables are the machine's.
const driver = fileURLToPath(new URL('../test/helpers/masquerade-driver.ts', import.meta.url));
const drive = async (host: TestHost, ...calls: DriverCall[]) => {
  const {stdout} = await host.run([process.execPath, '--no-warnings', driver, JSON.stringify(calls)], {
    timeoutMs: 60_000,
  });
  return JSON.parse(stdout) as unknown[];
};

/** The rules of a nat table, without the time, counters and what is always there. */
async function rules(host: TestHost, tool: string): Promise<string[]> {
  const {stdout} = await host.run([`${tool}-save`, '-t', 'nat']);
  return stdout.split('\n').filter((line) => /^(-A|:CNI)/.test(line));
}

const ips = ['10.1.0.5/16', 'fd00:1::5/64'];
const chain = 'CNI-a631aa8e1549a3b129110fd2';
const comment = '-m comment --comment "name: \\"mynet\\" id: \\"cid1\\""';
const expected4 = [
  `:${chain} - [0:0]`,
  `-A POSTROUTING -s 10.1.0.5/32 ${comment} -j ${chain}`,
  `-A ${chain} -d 10.1.0.0/16 ${comment} -j ACCEPT`,
  `-A ${chain} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`,
];
const expected6 = [
  `:${chain} - [0:0]`,
  `-A POSTROUTING -s fd00:1::5/128 ${comment} -j ${chain}`,
  `-A ${chain} -d fd00:1::/64 ${comment} -j ACCEPT`,
  `-A ${chain} ! -d ff00::/8 ${comment} -j MASQUERADE`,
];

/** What the reference does for one address, command by command. */
function asReference(tool: string, [source, subnet, multicast]: readonly [string, string, string]): string {
  const note = `-m comment --comment 'name: "mynet" id: "cid1"'`;
  return `
    ${tool} -t nat -N ${chain}
    ${tool} -t nat -A ${chain} -d ${subnet} -j ACCEPT ${note}
    ${tool} -t nat -A ${chain} ! -d ${multicast} -j MASQUERADE ${note}
    ${tool} -t nat -A POSTROUTING -s ${source} -j ${chain} ${note}
  `;
}
const source4 = ['10.1.0.5', '10.1.0.5/16', '224.0.0.0/4'] as const;
const source6 = ['fd00:1::5', 'fd00:1::5/64', 'ff00::/8'] as const;

test('the iptables backend makes what the reference makes, once', async (t) => {
  const reference = await makeHost(t);
  await reference.sh(asReference('iptables', source4) + asReference('ip6tables', source6));
  t.deepEqual(await rules(reference, 'iptables'), expected4);
  t.deepEqual(await rules(reference, 'ip6tables'), expected6);

  const host = await makeHost(t);
  const call = {containerId: 'cid1', ips, backend: 'iptables'} as const;
  await drive(host, {verb: 'ensure', ...call});
  t.deepEqual(await rules(host, 'iptables'), expected4);
  t.deepEqual(await rules(host, 'ip6tables'), expected6);
  // Again, and with parts of it missing.
  await drive(host, {verb: 'ensure', ...call});
  t.deepEqual(await rules(host, 'iptables'), expected4);
  await host.sh(`iptables -t nat -D POSTROUTING 1; iptables -t nat -D ${chain} 1`);
  t.deepEqual(
    (await drive(host, {verb: 'check', ...call}))[0],
    [expected4[2], expected4[1]].map((rule) => `iptables: ${rule}`),
  );
  await drive(host, {verb: 'ensure', ...call});
  t.deepEqual(await rules(host, 'iptables'), expected4);
  t.deepEqual((await drive(host, {verb: 'check', ...call}))[0], []);
  await drive(host, {verb: 'remove', ...call}, {verb: 'remove', ...call});
  t.deepEqual(await rules(host, 'iptables'), []);
  t.deepEqual(await rules(host, 'ip6tables'), []);
});

test('one process per family, and none to remove', async (t) => {
  const host = await makeHost(t);
  const call = {containerId: 'cid1', ips, backend: 'iptables'} as const;
  const executed = async (verb: DriverCall['verb']) => {
    const argv = [process.execPath, '--no-warnings', driver, JSON.stringify([{verb, ...call}])];
    await host.run(
      ['strace', '-f', '-qq', '-e', 'trace=execve', '-e', 'status=successful', '-o', '/run/trace', ...argv],
      {timeoutMs: 60_000},
    );
    const names = (await host.read('/run/trace')).matchAll(/execve\("[^"]*\/([^"/]+)", \["([^"]*)"/g);
    return [...names].map(([, file, argv0]) => `${file} ${argv0}`).filter((name) => /tables/.test(name));
  };
  // The wrapper that finds the unpacked libraries, then the tool itself.
  t.deepEqual((await executed('ensure')).filter((name) => /^ip6?tables-restore/.test(name)).length, 2);
  t.deepEqual(await executed('remove'), []);
  t.deepEqual(await rules(host, 'iptables'), []);
});

for (const variant of ['nft', 'legacy']) {
  test(`what the reference made with iptables-${variant} is removed`, async (t) => {
    const host = await makeHost(t);
    const tools = [`iptables-${variant}`, `ip6tables-${variant}`] as const;
    const make = asReference(tools[0], source4) + asReference(tools[1], source6);
    const left = async () => [...(await rules(host, tools[0])), ...(await rules(host, tools[1]))];
    const admin = '-A POSTROUTING -s 10.9.0.0/16 -j MASQUERADE';
    await host.sh(`${tools[0]} -t nat ${admin}`);
    for (const known of [ips, undefined]) {
      await host.sh(make);
      t.is((await left()).length, 9);
      await drive(host, {verb: 'remove', containerId: 'cid1', ...(known && {ips: known})});
      t.deepEqual(await left(), [admin]);
    }
    await host.sh(make);
    await drive(host, {verb: 'gc', keep: ['cid1']});
    t.is((await left()).length, 9);
    await drive(host, {verb: 'gc', keep: ['cid2']});
    t.deepEqual(await left(), [admin]);
  });

  test(`with iptables-${variant} a second interface of a container keeps its masquerading`, async (t) => {
    const host = await makeHost(t);
    const tool = `iptables-${variant}`;
    await host.sh(`
      ${asReference(tool, source4)}
      ${tool} -t nat -A POSTROUTING -s 10.1.0.6 -j ${chain}
    `);
    await drive(host, {verb: 'remove', containerId: 'cid1', ips: ['10.1.0.5/16']});
    t.deepEqual(
      (await rules(host, tool)).filter((line) => line.includes('POSTROUTING')),
      [`-A POSTROUTING -s 10.1.0.6/32 -j ${chain}`],
    );
    await drive(host, {verb: 'remove', containerId: 'cid1', ips: ['10.1.0.6/16']});
    t.deepEqual(await rules(host, tool), []);
  });
}

test("what the reference's nftables backend made is removed", async (t) => {
  const host = await makeHost(t);
  const tag = (id: string, ifName: string, hash: string) =>
    `comment "d23676b4f2d9fe04-${hash}, net: mynet, if: ${ifName}, id: ${id}"`;
  const ours = tag('cid1', 'eth0', '0b65a318f52e521b');
  const other = tag('cid2', 'eth0', 'ffffffffffffffff');
  const script = `
    table inet cni_plugins_masquerade {
      chain masq_checks {
        ip saddr == 10.1.0.5 ip daddr != 10.1.0.0/16 masquerade ${ours}
        ip saddr == 10.1.0.6 ip daddr != 10.1.0.0/16 masquerade ${other}
        ip6 saddr == fd00:1::5 ip6 daddr != fd00:1::/64 masquerade ${ours}
      }
      chain postrouting {
        type nat hook postrouting priority 100;
        ip daddr == 224.0.0.0/4 return
        ip6 daddr == ff00::/8 return
        goto masq_checks
      }
    }`;
  const comments = async () =>
    (await host.run(['nft', 'list', 'ruleset'])).stdout.match(/id: \w+/g)?.join() ?? '';
  await host.run(['nft', '-f', '-'], {stdin: script});
  t.is(await comments(), 'id: cid1,id: cid2,id: cid1');
  await drive(host, {verb: 'remove', containerId: 'cid1'});
  t.is(await comments(), 'id: cid2');
  await drive(host, {verb: 'gc', keep: ['cid1']});
  t.is(await comments(), '');
});

test('without iptables the error says what to install', async (t) => {
  const host = await makeHost(t);
  const calls = [{verb: 'ensure', containerId: 'cid1', ips, backend: 'iptables'}];
  await host.sh('mkdir /run/empty; mount --bind /run/empty /usr/sbin || true');
  const {stderr} = await host.run(
    ['/usr/bin/env', 'PATH=/nonexistent', process.execPath, '--no-warnings', driver, JSON.stringify(calls)],
    {mayFail: true},
  );
  t.regex(stderr, /CniError: iptables-restore is not installed/);
  t.regex(stderr, /install the package iptables/);
});
