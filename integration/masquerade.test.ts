import {fileURLToPath} from 'node:url';
import {makeNftHost} from '../test/helpers/nft-host.ts';
import type {DriverCall} from '../test/helpers/masquerade-driver.ts';
import type {Owner} from '../lib/cni/owner.ts';
import type {Attachment} from '../lib/cni/types.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import type {Cidr} from '../lib/ip/cidr.ts';
import * as masquerade from '../lib/nat/masquerade.ts';
import {commit} from '../lib/netlink/nft/transaction.ts';
import {deleteTable} from '../lib/netlink/nft/table.ts';
import {testWith} from './harness/needs.ts';
import type {TestHost} from './harness/host.ts';

const test = testWith('root', 'apt');

const {checkMasquerade, ensureMasquerade} = masquerade;
// In this process nothing may look for iptables-legacy: that would be the machine's.
const own = {reference: false} as const;
type NatHost = Parameters<typeof masquerade.removeMasquerade>[0];
const removeMasquerade = (host: NatHost, of: Owner, options: {readonly ips?: readonly Cidr[]} = {}) =>
  masquerade.removeMasquerade(host, of, {...options, ...own});
const gcMasquerade = (host: NatHost, network: string, keep: readonly Attachment[]) =>
  masquerade.gcMasquerade(host, network, keep, own);

const driver = fileURLToPath(new URL('../test/helpers/masquerade-driver.ts', import.meta.url));
const drive = async (host: TestHost, ...calls: DriverCall[]) => {
  const {stdout} = await host.run([process.execPath, '--no-warnings', driver, JSON.stringify(calls)], {
    timeoutMs: 60_000,
  });
  return JSON.parse(stdout) as unknown[];
};

const owner = (containerId: string, network = 'mynet'): Owner => ({network, containerId, ifName: 'eth0'});
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);
const both = cidrs('10.88.0.5/16', 'fd00:88::5/64');
const ruleset = async (host: TestHost) => (await host.run(['nft', 'list', 'ruleset'])).stdout;

const skeleton = `table inet weft {
	comment "NAT of containers, made by weft"
	map masq-addresses4 {
		type ipv4_addr : verdict
	}

	map masq-addresses6 {
		type ipv6_addr : verdict
	}

	chain masq-postrouting {
		type nat hook postrouting priority srcnat + 1; policy accept;
		ip saddr vmap @masq-addresses4
		ip6 saddr vmap @masq-addresses6
	}
}
`;

test('the first ADD of a host makes this ruleset', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await ensureMasquerade({nft}, {owner: owner('cid1'), ips: both});
  t.is(
    await ruleset(host),
    `table inet weft {
	comment "NAT of containers, made by weft"
	map masq-addresses4 {
		type ipv4_addr : verdict
		elements = { 10.88.0.5 comment "d23676b4f2d9fe04-0b65a318f52e521b, net: mynet, if: eth0, id: cid1" : goto masq-except-10.88.0.0/16 }
	}

	map masq-addresses6 {
		type ipv6_addr : verdict
		elements = { fd00:88::5 comment "d23676b4f2d9fe04-0b65a318f52e521b, net: mynet, if: eth0, id: cid1" : goto masq-except-fd00_88__/64 }
	}

	chain masq-postrouting {
		type nat hook postrouting priority srcnat + 1; policy accept;
		ip saddr vmap @masq-addresses4
		ip6 saddr vmap @masq-addresses6
	}

	chain masq-except-10.88.0.0/16 {
		ip daddr 10.88.0.0/16 return
		ip daddr 224.0.0.0/4 return
		masquerade
	}

	chain masq-except-fd00_88__/64 {
		ip6 daddr fd00:88::/64 return
		ip6 daddr ff00::/8 return
		masquerade
	}
}
`,
  );
  t.deepEqual(await checkMasquerade({nft}, {owner: owner('cid1'), ips: both}), []);
});

test('doing it again changes nothing', async (t) => {
  const {host, nft} = await makeNftHost(t);
  const wanted = {owner: owner('cid1'), ips: both, exemptDestinations: cidrs('192.168.0.0/16', '10.0.0.0/8')};
  await ensureMasquerade({nft}, wanted);
  const before = await ruleset(host);
  await ensureMasquerade({nft}, wanted);
  t.is(await ruleset(host), before);
  // The order of exemptions is not an option.
  await ensureMasquerade({nft}, {...wanted, exemptDestinations: wanted.exemptDestinations.toReversed()});
  t.is(await ruleset(host), before);
});

test('what an attachment has is removed, with and without its addresses known', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await ensureMasquerade({nft}, {owner: owner('cid1'), ips: both});
  await ensureMasquerade({nft}, {owner: owner('cid2'), ips: cidrs('10.88.0.6/16')});
  await removeMasquerade({nft}, owner('cid1'), {ips: both});
  t.notRegex(await ruleset(host), /cid1/);
  t.regex(await ruleset(host), /cid2/);
  await removeMasquerade({nft}, owner('cid2'));
  t.notRegex(await ruleset(host), /id: cid/);
  // Once more is success.
  await removeMasquerade({nft}, owner('cid2'), {ips: both});
  await gcMasquerade({nft}, 'mynet', []);
  t.is(await ruleset(host), skeleton);
});

test('removing where nothing was ever made makes nothing', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await removeMasquerade({nft}, owner('cid1'), {ips: both});
  await removeMasquerade({nft}, owner('cid1'));
  await gcMasquerade({nft}, 'mynet', []);
  t.is(await ruleset(host), '');
});

test('an address is taken over from whoever left it behind, and only its new owner removes it', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await ensureMasquerade({nft}, {owner: owner('old'), ips: both});
  await ensureMasquerade({nft}, {owner: owner('new'), ips: cidrs('10.88.0.5/24', 'fd00:88::5/64')});
  t.notRegex(await ruleset(host), /id: old/);
  t.deepEqual(await checkMasquerade({nft}, {owner: owner('new'), ips: cidrs('10.88.0.5/24')}), []);
  await removeMasquerade({nft}, owner('old'), {ips: both});
  t.is((await ruleset(host)).match(/id: new/g)?.length, 2);
  await removeMasquerade({nft}, owner('new'), {ips: both});
  t.notRegex(await ruleset(host), /id: /);
});

test('check says what is missing or different', async (t) => {
  const {host, nft, script} = await makeNftHost(t);
  const wanted = {owner: owner('cid1'), ips: cidrs('10.88.0.5/16')};
  const check = () => checkMasquerade({nft}, wanted);
  t.is((await check()).length, 3);
  await ensureMasquerade({nft}, wanted);
  t.deepEqual(await check(), []);
  await script('flush chain inet weft masq-except-10.88.0.0/16');
  t.deepEqual(await check(), [
    'chain inet weft masq-except-10.88.0.0/16 is missing or has not the rules it should have',
  ]);
  await script('delete element inet weft masq-addresses4 { 10.88.0.5 }');
  t.regex((await check())[0]!, /^10\.88\.0\.5 is not masqueraded: map inet weft masq-addresses4 lacks it/);
  await host.run(['nft', 'flush', 'ruleset']);
  await ensureMasquerade({nft}, {...wanted, owner: owner('cid2')});
  t.regex((await check())[0]!, /belongs to another attachment .*id: cid2/);
  t.regex(
    (await checkMasquerade({nft}, {...wanted, owner: owner('cid2'), ips: cidrs('10.88.0.5/24')}))[0]!,
    /other exemptions/,
  );
});

test('garbage collection removes what is not kept, of its own network only', async (t) => {
  const {host, nft} = await makeNftHost(t);
  for (const [network, id, ip] of [
    ['mynet', 'keep', '10.88.0.5/16'],
    ['mynet', 'stale', '10.88.0.6/16'],
    ['mynet', 'stale', 'fd00:88::6/64'],
    ['other', 'stale', '10.99.0.6/16'],
  ] as const) {
    await ensureMasquerade({nft}, {owner: owner(id, network), ips: cidrs(ip)});
  }
  await gcMasquerade({nft}, 'mynet', [{containerId: 'keep', ifName: 'eth0'}]);
  const text = await ruleset(host);
  t.deepEqual(text.match(/net: \w+, if: eth0, id: \w+/g), [
    'net: mynet, if: eth0, id: keep',
    'net: other, if: eth0, id: stale',
  ]);
  t.deepEqual(text.match(/chain masq-except-\S+/g), [
    'chain masq-except-10.88.0.0/16',
    'chain masq-except-10.99.0.0/16',
  ]);
});

test('a ruleset that somebody flushed is made anew by the next ADD', async (t) => {
  const {host, nft} = await makeNftHost(t);
  await ensureMasquerade({nft}, {owner: owner('cid1'), ips: both});
  const before = await ruleset(host);
  await host.run(['nft', 'flush', 'ruleset']);
  await removeMasquerade({nft}, owner('cid1'), {ips: both});
  await ensureMasquerade({nft}, {owner: owner('cid1'), ips: both});
  t.is(await ruleset(host), before);
});

test('a foreign table of our name is shared, unless its names are in the way', async (t) => {
  const {host, nft, script} = await makeNftHost(t);
  await script('add table inet weft { comment "mine" ; }; add chain inet weft theirs');
  await ensureMasquerade({nft}, {owner: owner('cid1'), ips: both});
  t.regex(await ruleset(host), /comment "mine"[^]*chain theirs[^]*masq-postrouting/);
  await commit(nft, [deleteTable({family: 'inet', table: 'weft'})]);
  await script('add table inet weft; add set inet weft masq-addresses4 { type ether_addr ; }');
  const error = await t.throwsAsync(ensureMasquerade({nft}, {owner: owner('cid1'), ips: both}));
  t.regex(error.message, /inet weft/);
});

test('many at once on a host that has nothing yet: all succeed, and the skeleton is there once', async (t) => {
  const {host} = await makeNftHost(t);
  const processes = Array.from({length: 20}, (_, p) =>
    drive(
      host,
      ...Array.from({length: 5}, (_, c): DriverCall => ({
        verb: 'ensure',
        containerId: `cid${p}-${c}`,
        ips: [`10.${88 + c}.0.${p + 1}/16`, `fd00:${88 + c}::${p + 1}/64`],
      })),
    ),
  );
  await Promise.all(processes);
  const text = await ruleset(host);
  t.is(text.match(/id: cid/g)?.length, 200);
  t.is(text.match(/vmap @/g)?.length, 2);
  t.is(text.match(/\bmasquerade$/gm)?.length, 10);
  t.is(text.match(/ return$/gm)?.length, 20);
  const removing = Array.from({length: 20}, (_, p) =>
    drive(
      host,
      ...Array.from({length: 5}, (_, c): DriverCall => ({verb: 'remove', containerId: `cid${p}-${c}`})),
    ),
  );
  await Promise.all([...removing, drive(host, {verb: 'gc', keep: []})]);
  await drive(host, {verb: 'gc', keep: []});
  t.is(await ruleset(host), skeleton);
});
