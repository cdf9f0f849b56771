import test, {type ExecutionContext} from 'ava';
import {checkHost} from '../../../cli/installation/host-checks.ts';
import type {HostFacts} from '../../../cli/installation/host-facts.ts';

const good: HostFacts = {
  glibc: '2.28',
  veth: 'present',
  bridge: 'present',
  nftables: 'present',
  freeBytes: 200_000_000,
};
const installation = {binDir: '/opt/cni/bin', neededBytes: 120_000_000};

test('a host that has everything', (t) => {
  t.deepEqual(checkHost(good, installation), []);
  t.deepEqual(checkHost({...good, glibc: '2.36'}, installation), []);
  t.deepEqual(checkHost({...good, glibc: '3.0'}, installation), []);
});

function finds(
  t: ExecutionContext,
  facts: Partial<HostFacts>,
  expected: {fatal: boolean; text: RegExp},
): void {
  const [finding, ...others] = checkHost({...good, ...facts}, installation);
  t.deepEqual(others, []);
  t.is(finding?.fatal, expected.fatal);
  t.regex(finding?.text ?? '', expected.text);
}

test(
  'an old glibc',
  finds,
  {glibc: '2.27'},
  {fatal: true, text: /has glibc 2\.27, weft needs 2\.28 .*: upgrade/},
);
test('an older glibc', finds, {glibc: '1.99'}, {fatal: true, text: /glibc 1\.99/});
test('musl', finds, {glibc: null}, {fatal: true, text: /no glibc/});
test('a host that cannot be seen', finds, {glibc: undefined}, {fatal: false, text: /cannot see/});
test('no veth', finds, {veth: 'absent'}, {fatal: true, text: /no veth links: .*`modprobe veth`/});
test('no bridge', finds, {bridge: 'absent'}, {fatal: true, text: /no bridge links: .*`modprobe bridge`/});
test(
  'no nftables',
  finds,
  {nftables: 'absent'},
  {fatal: false, text: /no nf_tables: .*iptables.*`modprobe nf_tables`/},
);
test(
  'not allowed to ask',
  finds,
  {veth: 'unknown', bridge: 'unknown', nftables: 'unknown'},
  {
    fatal: false,
    text: /run as root/,
  },
);
test(
  'no room',
  finds,
  {freeBytes: 100_000_000},
  {fatal: true, text: /needs 120 MB, but only 100 MB are free: make room/},
);
