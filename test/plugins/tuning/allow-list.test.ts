import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {checkAllowed} from '../../../plugins/tuning/allow-list.ts';

const list = [String.raw`^net\.ipv4\.conf\.IFNAME\.[a-z_]*$`, 'net.core', '(?i)^net/MIXED$'];

for (const key of ['net.ipv4.conf.IFNAME.arp_filter', 'xnet/core.somaxconn', 'net/mixed'])
  test(`${key} matches a line`, (t) => {
    t.notThrows(() => checkAllowed([key], list));
  });

test('the first key that matches none is named', (t) => {
  const error = t.throws(() => checkAllowed(['net.core.a', 'net.ipv4.ip_forward', 'net.b'], list), {
    instanceOf: CniError,
  });
  t.is(error?.code, 7);
  t.is(
    error?.message,
    `Sysctl net.ipv4.ip_forward is not allowed. Only the following sysctls are allowed: [${list.join(' ')}]`,
  );
});

test('an empty list allows nothing, and no list everything', (t) => {
  t.throws(() => checkAllowed(['net.core.a'], []), {message: /are allowed: \[\]$/});
  t.notThrows(() => checkAllowed([], []));
});

for (const line of ['net.(', '[[:alpha:]]', String.raw`\Anet`, String.raw`\pLnet`, 'net{', '(?x)net'])
  test(`the line "${line}" allows nothing: Go may read it differently`, (t) => {
    const error = t.throws(() => checkAllowed(['net.a'], ['net', line]), {instanceOf: CniError});
    t.regex(error?.message ?? '', /^error parsing regexp: /);
    t.true(error?.details.includes(JSON.stringify(line)));
  });
