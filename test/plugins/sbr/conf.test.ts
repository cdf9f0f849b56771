import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {formatIp} from '../../../lib/ip/address.ts';
import {formatCidr} from '../../../lib/ip/cidr.ts';
import {findTable, parseSbrConf} from '../../../plugins/sbr/conf.ts';
import {callFor} from '../../lib/cni/helpers.ts';

const prevResult = {
  cniVersion: '1.0.0',
  interfaces: [{name: 'veth1'}, {name: 'eth0', sandbox: '/x'}, {name: 'eth1', sandbox: '/x'}],
  ips: [
    {address: '10.1.0.7/24', gateway: '10.1.0.1', interface: 1},
    {address: '10.2.0.7/24', interface: 2},
    {address: 'fd00::7/64'},
    {address: '10.3.0.7/24', interface: 9},
  ],
};

const parse = async (conf: object) => parseSbrConf(await callFor({type: 'sbr', prevResult, ...conf}));

test('defaults, and the addresses of the interface', async (t) => {
  const {table, gateways, addSourceHints, ips} = await parse({});
  t.deepEqual({table, gateways, addSourceHints}, {table: undefined, gateways: [], addSourceHints: false});
  t.deepEqual(
    ips.map(({address}) => formatCidr(address)),
    ['10.1.0.7/24', 'fd00::7/64', '10.3.0.7/24'],
  );
});

test('keys in any case', async (t) => {
  const {gateways, addSourceHints} = await parse({Gateways: ['10.1.0.9', 'fd00::9'], addsourcehints: true});
  t.deepEqual(gateways.map(formatIp), ['10.1.0.9', 'fd00::9']);
  t.true(addSourceHints);
  t.is((await parse({TABLE: 5001})).table, 5001);
});

test('what has no effect beside table is a warning', async (t) => {
  const warnings: string[] = [];
  const call = await callFor({prevResult, table: 7, gateways: ['10.1.0.9']});
  parseSbrConf({...call, warn: (message) => void warnings.push(message)});
  t.deepEqual(warnings, ['"gateways" and "addSourceHints" have no effect together with "table"']);
});

test('DEL finds the table whatever else is wrong', async (t) => {
  t.is(findTable(await callFor({Table: 7, gateways: 7})), 7);
  t.is(findTable(await callFor({table: 'x'})), undefined);
});

const refuses = test.macro({
  title: (_, conf: object, msg: string) => `${JSON.stringify(conf)} is refused: ${msg}`,
  async exec(t, conf: object, msg: string) {
    const error = await t.throwsAsync(parse(conf), {instanceOf: CniError});
    t.is(error?.message, msg);
    t.is(error?.code, 7);
  },
});

test(refuses, {prevResult: null}, 'This plugin must be called as chained plugin');
test(refuses, {prevResult: {cniVersion: '1.0.0'}}, 'No IP addresses supplied on interface: eth0');
test(
  refuses,
  {prevResult: {...prevResult, ips: [prevResult.ips[1]]}},
  'No IP addresses supplied on interface: eth0',
);
test(refuses, {table: 0}, 'invalid table 0');
test(refuses, {table: '7'}, 'failed to load netconf: table: expected a number, found "7"');
test(refuses, {gateways: ['10.1.0']}, 'invalid static gateway IP address: 10.1.0');
test(refuses, {gateways: ['10.1.0.1', '10.1.0.2']}, 'more than one IPv4 gateway: 10.1.0.1, 10.1.0.2');
test(refuses, {gateways: ['fd00::1', 'fd00::2']}, 'more than one IPv6 gateway: fd00::1, fd00::2');
