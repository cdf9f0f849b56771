import {mkdtempSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {
  formatSubnetFile,
  parseSubnetFile,
  readSubnetFile,
  SubnetFileError,
} from '../../../lib/overlay/subnet-file.ts';

/** What is in a text, in words. */
function read(text: string) {
  const {networks, subnets, ...rest} = parseSubnetFile(text, '/f');
  return {...rest, networks: networks.map(formatCidr), subnets: subnets.map(formatCidr)};
}

const flannels = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=true
`;
const dualStack = `FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_IPV6_NETWORK=fc00::/48
FLANNEL_IPV6_SUBNET=fc00:0:0:17::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=false
`;
const expected = {networks: ['10.1.0.0/16'], subnets: ['10.1.17.1/24'], mtu: 1472, ipMasq: true};

test("flannel's file", (t) => {
  t.deepEqual(read(flannels), expected);
  t.deepEqual(read(dualStack), {
    networks: ['10.1.0.0/16', 'fc00::/48'],
    subnets: ['10.1.17.1/24', 'fc00:0:0:17::1/64'],
    mtu: 1430,
    ipMasq: false,
  });
});

test('IPv6 alone', (t) => {
  const text = dualStack.replaceAll(/^FLANNEL_(NETWORK|SUBNET).*\n/gm, '');
  t.deepEqual(read(text).subnets, ['fc00:0:0:17::1/64']);
});

test('several networks', (t) => {
  const text = flannels.replace('10.1.0.0/16', '10.1.0.0/16, 192.168.0.0/16');
  t.deepEqual(read(text).networks, ['10.1.0.0/16', '192.168.0.0/16']);
});

for (const [what, text] of [
  ['line ends of other systems', flannels.replaceAll('\n', '\r\n')],
  ['no line end at the end', flannels.trimEnd()],
  ['quotes', flannels.replaceAll(/=(.*)/g, '="$1"')],
  ['single quotes', flannels.replaceAll(/=(.*)/g, "='$1'")],
  ['white space', flannels.replaceAll(/^(.*)=(.*)$/gm, ' \t$1 = $2 \t')],
  [
    'export, comments and empty lines',
    `# of the agent\n\n${flannels.replaceAll(/^F/gm, 'export F')} # end\n`,
  ],
  ['a comment behind a value', flannels.replace('1472', '1472 # of eth0')],
  ['names nobody knows', `${flannels}FLANNEL_OTHER=x\nnot an assignment\n`],
  ['a value given twice: the last counts', `FLANNEL_MTU=9000\n${flannels}`],
] as const)
  test(what, (t) => {
    t.deepEqual(read(text), expected);
  });

test('only "true" is true, as with flannel', (t) => {
  for (const text of ['1', 'TRUE', 'yes', 'false'])
    t.false(read(flannels.replace('=true', `=${text}`)).ipMasq, text);
});

const refuses = test.macro({
  title: (_, text: string, msg: string) => `${JSON.stringify(text)}: ${msg}`,
  exec(t, text: string, message: string) {
    t.throws(() => parseSubnetFile(text, '/f'), {instanceOf: SubnetFileError, message});
  },
});

test(
  refuses,
  '',
  '/f is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_SUBNET, FLANNEL_IPV6_SUBNET, FLANNEL_MTU, FLANNEL_IPMASQ',
);
test(refuses, flannels.replace(/FLANNEL_MTU.*\n/, ''), '/f is missing FLANNEL_MTU');
test(refuses, flannels.replace('1472', 'big'), '/f: FLANNEL_MTU: "big" is not a whole number');
test(refuses, flannels.replace('.1/24', ''), '/f: FLANNEL_SUBNET: invalid CIDR address: 10.1.17');

test('what is written is what flannel would write', (t) => {
  for (const text of [flannels, dualStack]) t.is(formatSubnetFile(parseSubnetFile(text, '/f')), text);
});

test('a file that is not there says so as flannel does', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-'));
  const file = path.join(folder, 'subnet.env');
  const error = t.throws(() => readSubnetFile(file), {
    instanceOf: SubnetFileError,
    message: `open ${file}: no such file or directory`,
  });
  t.true(error?.isMissing);
  writeFileSync(file, flannels);
  t.is(readSubnetFile(file).mtu, 1472);
  t.false(t.throws(() => readSubnetFile(folder), {instanceOf: SubnetFileError})?.isMissing);
});
