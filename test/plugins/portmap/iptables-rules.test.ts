import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {
  findMissing,
  formatNew,
  formatRemoval,
  formatRepair,
  parseContainers,
  planIptables,
} from '../../../plugins/portmap/iptables-rules.ts';
import type {IptablesForwarding} from '../../../plugins/portmap/iptables-rules.ts';
import {dnatComment, parseDnatComment} from '../../../plugins/portmap/reference-names.ts';

const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};
const chain = 'CNI-DN-a631aa8e1549a3b129110';
const comment = '-m comment --comment "dnat name: \\"mynet\\" id: \\"cid1\\""';
const web = {
  ...({family: 4, protocol: 'tcp', hostPort: 8080, containerPort: 80, hostIp: undefined} as const),
  container: parseCidr('10.1.0.5/16')!,
};
const wanted: IptablesForwarding = {
  owner,
  family: 4,
  forwards: [web],
  mappings: [web],
  snat: true,
  masqAll: false,
  markBit: 13,
  externalSetMarkChain: undefined,
  matches: [],
};
const shared = [
  '-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
  '-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT',
  '-A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000',
  '-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE',
  '-A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ',
];
const entry = `-A CNI-HOSTPORT-DNAT -p tcp ${comment} -m multiport --dports 8080 -j ${chain}`;
const own = [
  `-A ${chain} -s 10.1.0.0/16 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
  `-A ${chain} -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
  `-A ${chain} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.5:80`,
];
const restore = (...lines: string[]) => ['*nat', ...lines, 'COMMIT', ''].join('\n');
/** What iptables-save prints. */
const saved = (...lines: string[]) => ['# Generated', '*nat', ...lines, 'COMMIT', ''].join('\n');

test('the rules of one mapping', (t) => {
  const plan = planIptables(wanted);
  t.deepEqual(plan.sharedRules, shared);
  t.deepEqual(plan.rules, [entry, ...own]);
  t.is(
    formatNew(plan),
    restore(...shared.map((rule) => rule.replace('-A', '-C')), `-N ${chain}`, entry, ...own),
  );
});

test('masqAll marks whoever asks, once', (t) => {
  t.deepEqual(planIptables({...wanted, masqAll: true}).rules.slice(1), [
    `-A ${chain} -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
    own[2],
  ]);
});

test('without snat nothing is marked, and no chain for it is made', (t) => {
  const plan = planIptables({...wanted, snat: false});
  t.deepEqual(plan.rules.slice(1), [own[2]]);
  t.deepEqual(plan.sharedChains, ['CNI-HOSTPORT-DNAT']);
});

test('IPv6, an address of the host, a mark bit, sctp', (t) => {
  const forward = {
    ...web,
    family: 6 as const,
    protocol: 'sctp' as const,
    hostIp: parseIp('2001:db8::1')!,
    container: parseCidr('fd00::5/64')!,
  };
  const plan = planIptables({...wanted, family: 6, forwards: [forward], mappings: [forward], markBit: 31});
  t.deepEqual(plan.rules.slice(1), [
    `-A ${chain} -s fd00::/64 -d 2001:db8::1/128 -p sctp -m sctp --dport 8080 -j CNI-HOSTPORT-SETMARK`,
    `-A ${chain} -d 2001:db8::1/128 -p sctp -m sctp --dport 8080 -j DNAT --to-destination [fd00::5]:80`,
  ]);
  t.true(plan.sharedRules[2]!.endsWith('--set-xmark 0x80000000/0x80000000'));
});

test('words of conditions are quoted where they have to be', (t) => {
  const [rule] = planIptables({
    ...wanted,
    matches: ['-m', 'comment', '--comment', 'it\'s "mine"\nall'],
  }).rules;
  t.true(rule!.includes(`--dports 8080 -m comment --comment "it's \\"mine\\" all" -j ${chain}`));
});

test('what is missing is made, what is there of the container made anew', (t) => {
  const plan = planIptables(wanted);
  t.is(
    formatRepair(plan, saved(':PREROUTING ACCEPT [0:0]')),
    restore(
      ...['DNAT', 'SETMARK', 'MASQ'].map((name) => `-N CNI-HOSTPORT-${name}`),
      ...shared.slice(0, 4),
      shared[4]!.replace('-A POSTROUTING', '-I POSTROUTING 1'),
      `-N ${chain}`,
      entry,
      ...own,
    ),
  );
  const whole = saved(
    ...['DNAT', 'SETMARK', 'MASQ'].map((name) => `:CNI-HOSTPORT-${name} - [0:0]`),
    `:${chain} - [0:0]`,
    ...shared,
    entry,
    own[0]!,
  );
  t.is(formatRepair(plan, whole), restore(entry.replace('-A', '-D'), `-F ${chain}`, entry, ...own));
  t.deepEqual(
    findMissing(plan, whole),
    own.slice(1).map((rule) => `the rule "${rule}" is missing`),
  );
  t.deepEqual(
    findMissing(plan, whole.replace(entry, '')).at(-1),
    `1 of 1 rules that lead to ${chain} are missing`,
  );
});

test('removal names what is there, of every release', (t) => {
  const old = 'CNI-SN-a631aa8e1549a3b129110';
  const jump = `-A CNI-HOSTPORT-SNAT -m comment --comment "snat name: \\"mynet\\" id: \\"cid1\\"" -j ${old}`;
  const text = saved(`:${chain} - [0:0]`, `:${old} - [0:0]`, entry, jump, ...own);
  t.is(
    formatRemoval(owner, text),
    restore(
      entry.replace('-A', '-D'),
      `-F ${chain}`,
      `-X ${chain}`,
      jump.replace('-A', '-D'),
      `-F ${old}`,
      `-X ${old}`,
    ),
  );
  t.is(formatRemoval({...owner, containerId: 'cid2'}, text), undefined);
  t.deepEqual(parseContainers('mynet', text), ['cid1']);
  t.deepEqual(parseContainers('other', text), []);
});

test('a comment is cut as the reference cuts it, and then says nothing', (t) => {
  const long = dnatComment({network: 'n'.repeat(300), containerId: 'c'});
  t.is(long.length, 255);
  t.true(long.endsWith('n..'));
  t.is(parseDnatComment(long), undefined);
  t.deepEqual(parseDnatComment(dnatComment(owner)), {network: 'mynet', containerId: 'cid1'});
});
