import type {ExecutionContext} from 'ava';
import {firewall, pingAll, prepare} from './harness/firewall.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, tryPlugin, type PluginCall} from './harness/plugin.ts';

// Hosts whose administrator wrote a ruleset in nftables' own language: it is left as it is, and what it lacks is said.

const test = testWith('root', 'apt');

const both = [true, true];
const neither = [false, false];

/** The commands that a text tells. */
const commandsOf = (text: string) => text.match(/nft insert rule .*? accept/g) ?? [];

/** A host whose own ruleset drops what is forwarded, and the calls of a container on it. */
async function makeLocked(
  t: ExecutionContext,
  chain: string,
): Promise<{host: TestHost; call: Omit<PluginCall, 'command'>}> {
  t.timeout(180_000);
  const host = await makeHost(t);
  await addOutside(host);
  await host.run(['nft', '-f', '-'], {stdin: `table inet filter {\n${chain}\n}`});
  const {call} = await prepare(host, 'pod');
  return {host, call};
}

const outside = ['192.0.2.2', '2001:db8:2::2'];

for (const [title, chain] of [
  [
    'whose policy is drop',
    'chain forward { type filter hook forward priority filter; policy drop; ct state established,related accept; }',
  ],
  [
    'that ends with a rejection',
    'chain forward { type filter hook forward priority 5; ct state vmap { established : accept }; counter reject with icmpx admin-prohibited; }',
  ],
] as const)
  test(`of a chain ${title} the first ADD and CHECK say which rule is missing, and with it packets pass`, async (t) => {
    const {host, call} = await makeLocked(t, chain);
    const add = await tryPlugin(host, {...call, command: 'ADD'});
    t.is(add.code, 0);
    t.regex(add.stderr, /^firewall: the chain inet filter forward of nftables drops what is forwarded/);
    t.deepEqual(await pingAll(host, 'pod', outside), neither);
    // Not again for every container.
    t.is((await tryPlugin(host, {...call, command: 'ADD'})).stderr, '');
    const check = await tryPlugin(host, {...call, command: 'CHECK'});
    const said = check.code === 0 ? check.stderr : (check.reply?.msg ?? '');
    // A map of verdicts may let anybody through.
    t.is(check.code, title.includes('policy') ? 1 : 0);
    t.deepEqual(commandsOf(said), commandsOf(add.stderr));
    const status = await tryPlugin(host, {conf: firewall, command: 'STATUS'});
    t.is(status.code, 0);
    t.deepEqual(commandsOf(status.stderr), commandsOf(add.stderr));
    for (const command of commandsOf(said)) await host.sh(command);
    t.deepEqual(await pingAll(host, 'pod', outside), both);
    const after = await tryPlugin(host, {...call, command: 'CHECK'});
    t.deepEqual([after.code, after.stderr], [0, '']);
    await callPlugin(host, {...call, command: 'DEL'});
    t.deepEqual(await pingAll(host, 'pod', outside), neither);
  });

test('a chain that comes before the mark is set cannot be helped by the rule alone, which is said', async (t) => {
  const {host, call} = await makeLocked(
    t,
    'chain early { type filter hook forward priority -10; policy drop; }',
  );
  const {stderr} = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(stderr, /give it a later priority than -1/);
  await host.sh(`nft delete chain inet filter early`);
  await host.sh(`nft 'add chain inet filter early { type filter hook forward priority 0; policy drop; }'`);
  for (const command of commandsOf(stderr)) await host.sh(command);
  t.deepEqual(await pingAll(host, 'pod', outside), both);
});

test('chains that are no obstacle are not complained of', async (t) => {
  const {host, call} = await makeLocked(
    t,
    `chain forward { type filter hook forward priority 0; iifname "eth9" drop; }
     chain input { type filter hook input priority 0; policy drop; ct state established accept; icmp type echo-request accept; meta l4proto ipv6-icmp accept; }
     chain counted { type filter hook forward priority 1; policy drop; meta mark and 0x1000 == 0x1000 counter accept comment "containers"; }`,
  );
  // What iptables has is not the administrator's own.
  await host.sh('iptables -P FORWARD DROP; iptables -t mangle -A FORWARD -s 203.0.113.1 -j DROP');
  for (const command of ['ADD', 'CHECK'] as const) {
    const {code, stderr} = await tryPlugin(host, {...call, command});
    t.deepEqual([code, stderr], [0, '']);
  }
  t.deepEqual(await pingAll(host, 'pod', outside), both);
});

test("the page's rule is the one that is said", async (t) => {
  const {host, call} = await makeLocked(
    t,
    'chain forward { type filter hook forward priority 0; policy drop; }',
  );
  const {stderr} = await tryPlugin(host, {...call, command: 'ADD'});
  const page = await host.read('/run/machine/repository/plugins/firewall/README.md');
  t.deepEqual([...new Set(commandsOf(page))], commandsOf(stderr));
});
