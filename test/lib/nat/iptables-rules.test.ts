import test from 'ava';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {
  formatMissingRules,
  formatNewRules,
  formatRemoval,
  parseIptablesContainers,
  planIptablesRules,
} from '../../../lib/nat/iptables-rules.ts';

const owner = {network: 'mynet', containerId: 'cid1'};
const chain = 'CNI-a631aa8e1549a3b129110fd2';
const comment = '-m comment --comment "name: \\"mynet\\" id: \\"cid1\\""';
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);
const rules = planIptablesRules(owner, cidrs('10.1.0.5/16'));
const accept = `-A ${chain} -d 10.1.0.0/16 ${comment} -j ACCEPT`;
const masquerade = `-A ${chain} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE`;
const jump = `-A POSTROUTING -s 10.1.0.5/32 ${comment} -j ${chain}`;

/** What iptables-save prints. */
const saved = (...lines: string[]) =>
  ['# Generated', '*nat', ':POSTROUTING ACCEPT [0:0]', ...lines, 'COMMIT', ''].join('\n');
const restore = (...lines: string[]) => ['*nat', ...lines, 'COMMIT', ''].join('\n');
const whole = saved(`:${chain} - [0:0]`, jump, accept, masquerade);

test('the rules are spelled as iptables-save does', (t) => {
  t.deepEqual(rules, [accept, masquerade, jump]);
  t.is(formatNewRules(owner, rules), restore(`-N ${chain}`, accept, masquerade, jump));
  t.deepEqual(planIptablesRules(owner, []), []);
});

test('all exemptions come before the masquerading, each once', (t) => {
  const two = planIptablesRules(
    owner,
    cidrs('10.1.0.5/16', '10.1.0.6/16', '10.2.0.5/16'),
    cidrs('192.168.0.0/16', 'fd00::/8'),
  );
  t.deepEqual(
    two.map((rule) => rule.replace(` ${comment}`, '')),
    [
      `-A ${chain} -d 10.1.0.0/16 -j ACCEPT`,
      `-A ${chain} -d 10.2.0.0/16 -j ACCEPT`,
      `-A ${chain} -d 192.168.0.0/16 -j ACCEPT`,
      `-A ${chain} ! -d 224.0.0.0/4 -j MASQUERADE`,
      `-A POSTROUTING -s 10.1.0.5/32 -j ${chain}`,
      `-A POSTROUTING -s 10.1.0.6/32 -j ${chain}`,
      `-A POSTROUTING -s 10.2.0.5/32 -j ${chain}`,
    ],
  );
});

test('what is there is completed', (t) => {
  t.is(formatMissingRules(owner, rules, whole), undefined);
  t.is(
    formatMissingRules(owner, rules, saved(`:${chain} - [0:0]`, masquerade)),
    restore(accept.replace(`-A ${chain}`, `-I ${chain} 1`), jump),
  );
  t.is(formatMissingRules(owner, rules, saved()), restore(`-N ${chain}`, ...rules));
});

test('removal names exactly what is there', (t) => {
  const end = [`-F ${chain}`, `-X ${chain}`];
  t.is(formatRemoval(owner, saved()), undefined);
  t.is(formatRemoval(owner, whole), restore(jump.replace('-A', '-D'), ...end));
  t.is(formatRemoval(owner, whole, cidrs('10.1.0.5/16')), restore(jump.replace('-A', '-D'), ...end));
  t.is(formatRemoval(owner, saved(`:${chain} - [0:0]`)), restore(...end));
  const legacy = `-A POSTROUTING -s 10.1.0.0/16 -j ${chain}`;
  t.is(
    formatRemoval(owner, saved(`:${chain} - [0:0]`, legacy), cidrs('10.1.0.5/16')),
    restore(legacy.replace('-A', '-D'), ...end),
  );
});

test('a jump of another interface of the container keeps the chain', (t) => {
  const second = `-A POSTROUTING -s 10.1.0.6/32 -j ${chain}`;
  const both = saved(`:${chain} - [0:0]`, jump, second);
  t.is(formatRemoval(owner, both, cidrs('10.1.0.5/16')), restore(jump.replace('-A', '-D')));
  t.is(formatRemoval(owner, both, cidrs('10.1.0.7/16')), undefined);
});

test('the containers of a network are read from comments that fit the name of the chain', (t) => {
  const foreign = jump.replace(chain, 'CNI-000000000000000000000000');
  t.deepEqual(parseIptablesContainers('mynet', whole), ['cid1']);
  t.deepEqual(parseIptablesContainers('other', whole), []);
  t.deepEqual(parseIptablesContainers('mynet', saved(foreign)), []);
});
