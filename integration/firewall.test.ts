import type {ExecutionContext} from 'ava';
import {addressesOf} from './harness/attachment.ts';
import {firewall, guard, listRuleset, network, pingAll, prepare, saveFilter} from './harness/firewall.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

const both = [true, true];
const neither = [false, false];
const long = 180_000;

const dropForwarded = (host: TestHost, variant: 'nft' | 'legacy') =>
  host.sh(`iptables-${variant} -P FORWARD DROP; ip6tables-${variant} -P FORWARD DROP`);

/** Tools that save and restore everything, as firewalls and Kubernetes components do, change nothing. */
async function assertRestorable(
  t: ExecutionContext,
  host: TestHost,
  variant: 'nft' | 'legacy',
): Promise<void> {
  const saved = await saveFilter(host, variant);
  t.is(saved.filter((line) => line.includes('weft: traffic of containers')).length > 0, true);
  for (const tool of [`iptables-${variant}`, `ip6tables-${variant}`])
    await host.sh(`${tool}-save | ${tool}-restore`);
  t.deepEqual(await saveFilter(host, variant), saved);
}

for (const variant of ['nft', 'legacy'] as const)
  test(`a container talks to the outside where iptables-${variant} drops what is forwarded`, async (t) => {
    t.timeout(long);
    const host = await makeHost(t);
    const outside = await addOutside(host);
    await dropForwarded(host, variant);
    const {call, addresses} = await prepare(host, 'pod');
    t.deepEqual(await pingAll(host, 'pod', outside.addresses), neither);
    const result = await callPlugin(host, {...call, command: 'ADD'});
    t.deepEqual(addressesOf(result), addresses);
    t.deepEqual(await pingAll(host, 'pod', outside.addresses), both);
    await callPlugin(host, {...call, command: 'CHECK'});
    // Twice is as once.
    await callPlugin(host, {...call, command: 'ADD'});
    const rule =
      '-A FORWARD -m mark --mark 0x1000/0x1000 -m comment --comment "weft: traffic of containers" -j ACCEPT';
    const saved = await saveFilter(host, variant);
    t.deepEqual(
      saved.filter((line) => line.startsWith('-A')),
      [rule, rule],
    );
    await assertRestorable(t, host, variant);
    t.deepEqual(await pingAll(host, 'pod', outside.addresses), both);
    await callPlugin(host, {...call, command: 'CHECK'});
    await callPlugin(host, {...call, command: 'ADD'});
    t.deepEqual(await saveFilter(host, variant), saved);
    await callPlugin(host, {...call, command: 'DEL'});
    t.deepEqual(await pingAll(host, 'pod', outside.addresses), neither);
    t.regex((await tryPlugin(host, {...call, command: 'CHECK'})).reply?.msg ?? '', /is not admitted/);
  });

test('on a Docker host the rule is in DOCKER-USER, behind those of the administrator', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  const allowed = await prepare(host, 'allowed');
  const banned = await prepare(host, 'banned');
  await host.sh(
    `
    iptables -P FORWARD DROP
    iptables -N DOCKER-USER
    iptables -A DOCKER-USER -s $1 -j DROP
    iptables -A DOCKER-USER -j RETURN
    iptables -A FORWARD -j DOCKER-USER
    ip6tables -N DOCKER-USER
    ip6tables -A FORWARD -j DOCKER-USER
  `,
    {args: [banned.addresses[0]!]},
  );
  for (const {call} of [allowed, banned]) await callPlugin(host, {...call, command: 'ADD'});
  t.deepEqual(await pingAll(host, 'allowed', outside.addresses), both);
  t.deepEqual(await pingAll(host, 'banned', outside.addresses), [false, true]);
  const rule =
    '-A DOCKER-USER -m mark --mark 0x1000/0x1000 -m comment --comment "weft: traffic of containers" -j ACCEPT';
  t.deepEqual(
    (await saveFilter(host, 'nft')).filter((line) => line.startsWith('-A')),
    [
      '-A FORWARD -j DOCKER-USER',
      `-A DOCKER-USER -s ${banned.addresses[0]}/32 -j DROP`,
      rule,
      '-A DOCKER-USER -j RETURN',
      '-A FORWARD -j DOCKER-USER',
      rule,
    ],
  );
  await callPlugin(host, {...allowed.call, command: 'CHECK'});
  await assertRestorable(t, host, 'nft');
  t.deepEqual(await pingAll(host, 'allowed', outside.addresses), both);
  t.deepEqual(await pingAll(host, 'banned', outside.addresses), [false, true]);
  for (const command of ['CHECK', 'ADD'] as const) await callPlugin(host, {...allowed.call, command});
  await assertRestorable(t, host, 'nft');
  await host.sh('iptables -F DOCKER-USER');
  t.regex(
    (await tryPlugin(host, {...allowed.call, command: 'CHECK'})).reply?.msg ?? '',
    /^the chain FORWARD of iptables-nft lacks the rule/,
  );
});

test('a DOCKER-USER of iptables-legacy is used in the same way', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await host.sh(`
    iptables-legacy -P FORWARD DROP
    iptables-legacy -N DOCKER-USER
    iptables-legacy -A DOCKER-USER -s 203.0.113.1 -j DROP
    iptables-legacy -A DOCKER-USER -j RETURN
    iptables-legacy -A FORWARD -j DOCKER-USER
  `);
  await guard(host, 'pod');
  await guard(host, 'other');
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), both);
  t.deepEqual(
    (await saveFilter(host, 'legacy')).filter((line) => line.startsWith('-A DOCKER')),
    [
      '-A DOCKER-USER -s 203.0.113.1/32 -j DROP',
      '-A DOCKER-USER -m mark --mark 0x1000/0x1000 -m comment --comment "weft: traffic of containers" -j ACCEPT',
      '-A DOCKER-USER -j RETURN',
    ],
  );
  await assertRestorable(t, host, 'legacy');
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), both);
  await guard(host, 'third');
  await assertRestorable(t, host, 'legacy');
});

test("kube-proxy's marks stay as they are, and another bit can be chosen", async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await dropForwarded(host, 'nft');
  const one = await guard(host, 'one');
  await guard(host, 'two', {...firewall, markBit: 20});
  // Marks before us, and counts behind us; then kube-proxy takes its own away, and only its own.
  await host.sh(`
    iptables -t mangle -A PREROUTING -s 10.61.0.0/24 -j MARK --or-mark 0x4000
    iptables -t mangle -A POSTROUTING -o uplink -m mark --mark 0x5000/0xffffffff -m comment --comment first
    iptables -t mangle -A POSTROUTING -o uplink -m mark --mark 0x104000/0xffffffff -m comment --comment second
    iptables -t nat -A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
    iptables -t nat -A POSTROUTING -j MARK --set-xmark 0x4000/0x0
    iptables -t nat -A POSTROUTING -j MASQUERADE
  `);
  t.deepEqual(await pingAll(host, 'one', outside.addresses), both);
  t.deepEqual(await pingAll(host, 'two', outside.addresses), both);
  const {stdout} = await host.sh('iptables-save -c -t mangle');
  t.regex(stdout, /^\[1:84\] .*--comment first/m);
  t.regex(stdout, /^\[1:84\] .*--comment second/m);
  await callPlugin(host, {...one.call, command: 'CHECK'});
  const {stdout: forward} = await host.sh('iptables-save -t filter');
  t.regex(forward, /--mark 0x1000\/0x1000/);
  t.regex(forward, /--mark 0x100000\/0x100000/);
});

test('from outside, what was published comes in and nothing else where the host drops', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await dropForwarded(host, 'nft');
  const {addresses} = await guard(host, 'pod', firewall, {...network, ipMasq: false});
  await host.sh(`
    nsenter --net=/run/netns/outside ip route add 10.61.0.0/24 via 192.0.2.1
    nsenter --net=/run/netns/outside ip route add 2001:db8:61::/64 via 2001:db8:2::1
  `);
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), both);
  t.deepEqual(await pingAll(host, 'outside', addresses), neither);
  await host.sh(
    `
    ip address add 192.0.2.99/24 dev uplink
    iptables -t nat -A PREROUTING -d 192.0.2.99 -j DNAT --to-destination $1
  `,
    {args: [addresses[0]!]},
  );
  t.deepEqual(await pingAll(host, 'outside', ['192.0.2.99', addresses[0]!]), [true, false]);
  await host.sh('iptables -P FORWARD ACCEPT; ip6tables -P FORWARD ACCEPT');
  t.deepEqual(await pingAll(host, 'outside', addresses), both);
});

test("the administrator's chain is looked at first, and stays", async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await dropForwarded(host, 'nft');
  const conf = {...firewall, ingressPolicy: 'same-bridge'};
  const pod = await guard(host, 'pod', conf);
  const chain = 'inet weft-firewall CNI-ADMIN';
  await host.sh(`nft add rule ${chain} ip daddr ${outside.addresses[0]} drop`);
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), [false, true]);
  await callPlugin(host, {...pod.call, command: 'DEL'});
  await callPlugin(host, {...pod.call, command: 'GC', attachments: []});
  await callPlugin(host, {...pod.call, command: 'ADD'});
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), [false, true]);
  await host.sh(`nft flush chain ${chain}`);
  // Another network names another one; both are looked at.
  const other = await guard(host, 'other', {...conf, iptablesAdminChainName: 'OWN-RULES'});
  await host.sh(`nft add rule inet weft-firewall OWN-RULES ip6 daddr ${outside.addresses[1]} drop`);
  t.deepEqual(await pingAll(host, 'pod', outside.addresses), [true, false]);
  await callPlugin(host, {...other.call, command: 'CHECK'});
  await host.sh('nft flush chain inet weft-firewall admin');
  t.regex(
    (await tryPlugin(host, {...other.call, command: 'CHECK'})).reply?.msg ?? '',
    /^nothing leads to the administrator's chain inet weft-firewall OWN-RULES$/,
  );
});

test('CHECK tells what somebody removed, makes nothing, and the next ADD makes it anew', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const {call, addresses} = await guard(host, 'pod', {...firewall, ingressPolicy: 'isolated'});
  const before = await listRuleset(host);
  const complaint = async () => (await tryPlugin(host, {...call, command: 'CHECK'})).reply?.msg ?? '';
  t.is(await complaint(), '');
  await host.sh(`nft delete element inet weft-firewall containers4 { ${addresses[0]} }`);
  t.is(await complaint(), `${addresses[0]} is not admitted: inet weft-firewall containers4 lacks it`);
  await host.sh('nft flush set inet weft-firewall bridges');
  t.regex(
    await complaint(),
    /; ingressPolicy "isolated" of bridge "cni0" is not in force: .* bridges lacks it$/,
  );
  await host.sh(
    'nft flush chain inet weft-firewall forward; nft flush set bridge weft-firewall isolated-ports',
  );
  t.regex(await complaint(), /"veth[0-9a-f]{8}" is not isolated from the other ports of bridge "cni0"/);
  t.regex(
    await complaint(),
    /chain inet weft-firewall forward is missing or has not the rules it should have/,
  );
  await host.sh('nft flush ruleset');
  const {stdout} = await host.run(['nft', 'list', 'tables']);
  t.regex(await complaint(), /not admitted/);
  t.is((await host.run(['nft', 'list', 'tables'])).stdout, stdout);
  await callPlugin(host, {...call, command: 'ADD'});
  t.is(await complaint(), '');
  const withoutNat = (text: string) => text.slice(text.indexOf('table inet weft-firewall'));
  t.is(withoutNat(await listRuleset(host)), withoutNat(before));
});

test('DEL and GC leave nothing of a container, with and without a previous result', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = {...firewall, ingressPolicy: 'isolated'};
  const left = async (
    clean: (call: Awaited<ReturnType<typeof guard>>['call']) => Promise<unknown>,
    name: string,
  ) => {
    const {call} = await guard(host, name, conf);
    await clean(call);
    await callPlugin(host, {...call, conf: network, command: 'DEL'});
    await host.removeNetns(name);
    await assertNothingLeft(t, host, before);
  };
  await left((call) => callPlugin(host, {...call, command: 'DEL'}), 'one');
  await left((call) => callPlugin(host, {...call, command: 'DEL', netns: '', prevResult: undefined}), 'two');
  await left((call) => callPlugin(host, {...call, command: 'GC', attachments: []}), 'three');
  await left(async (call) => {
    await callPlugin(host, {...call, command: 'GC', attachments: [{containerID: 'four', ifname: 'eth0'}]});
    await callPlugin(host, {...call, command: 'CHECK'});
    await callPlugin(host, {...call, conf: {...conf, name: 'another'}, command: 'GC', attachments: []});
    await callPlugin(host, {...call, command: 'CHECK'});
    const broken = {...conf, ingressPolicy: 'nonsense', markBit: 'x', backend: 7};
    await callPlugin(host, {...call, conf: broken, command: 'DEL'});
  }, 'four');
});

test('an address that has a new owner stays with it when the old one is removed', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const {call} = await guard(host, 'old');
  const next = {...call, containerId: 'next'};
  await callPlugin(host, {...next, command: 'ADD'});
  t.regex((await tryPlugin(host, {...call, command: 'CHECK'})).reply?.msg ?? '', /belongs to ".*id: next"/);
  await callPlugin(host, {...call, command: 'DEL'});
  await callPlugin(host, {...next, command: 'CHECK'});
});

test('the first container of a host makes these tables', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const {port} = await guard(
    host,
    'pod',
    {...firewall, ingressPolicy: 'isolated'},
    {...network, ipMasq: false},
  );
  const owner = 'comment "380bb6f43e9121ae-a3b640692a85f94b, net: guarded, if: eth0, id: pod"';
  t.is(
    await listRuleset(host),
    `table inet weft-firewall {
	comment "traffic of containers, made by weft"
	map containers4 {
		type ipv4_addr : verdict
		elements = { 10.61.0.2 ${owner} : goto admit-0x1000 }
	}

	map members4 {
		type ipv4_addr : verdict
		elements = { 10.61.0.2 ${owner} : jump isolated-cni0 }
	}

	map containers6 {
		type ipv6_addr : verdict
		elements = { 2001:db8:61::2 ${owner} : goto admit-0x1000 }
	}

	map members6 {
		type ipv6_addr : verdict
		elements = { 2001:db8:61::2 ${owner} : jump isolated-cni0 }
	}

	map bridge-pairs {
		type ifname . ifname : verdict
		elements = { "cni0" . "cni0" : drop }
	}

	set bridges {
		type ifname
		elements = { "cni0" }
	}

	chain admin {
		jump CNI-ADMIN
	}

	chain to-containers {
		ip daddr vmap @containers4
		ip6 daddr vmap @containers6
	}

	chain policy {
		iifname . oifname vmap @bridge-pairs
		iifname @bridges oifname @bridges drop
	}

	chain forward {
		type filter hook forward priority filter - 1; policy accept;
		jump admin
		jump policy
		ip saddr vmap @containers4
		ip6 saddr vmap @containers6
		ct state established,related jump to-containers
		ct status dnat jump to-containers
	}

	chain admit-0x1000 {
		meta mark set meta mark | 0x00001000 accept
	}

	chain isolated-cni0 {
	}

	chain CNI-ADMIN {
	}
}
table bridge weft-firewall {
	comment "isolated containers, made by weft"
	set isolated-ports {
		type ifname
		elements = { "${port}" ${owner} }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname @isolated-ports drop
		oifname @isolated-ports drop
	}
}
`,
  );
});

test('STATUS is well where an ADD can be served', async (t) => {
  const host = await makeHost(t);
  await callPlugin(host, {conf: firewall, command: 'STATUS'});
  await host.sh('mkdir /run/empty; for d in /usr/sbin /usr/local/sbin; do mount --bind /run/empty $d; done');
  const {reply} = await tryPlugin(host, {
    conf: {...firewall, backend: 'iptables'},
    command: 'STATUS',
    under: ['/usr/bin/env', 'PATH=/nonexistent'],
  });
  t.is(reply?.code, 50);
  t.is(reply?.msg, 'could not initialize iptables protocol IPv4: iptables-save is not installed');
  const denied = await tryPlugin(host, {
    conf: firewall,
    command: 'STATUS',
    under: ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'],
  });
  t.is(denied.reply?.code, 50);
  t.regex(denied.reply?.details ?? '', /CAP_NET_ADMIN/);
});
