import test from 'ava';
import {areFree, chooseSubnets, fits} from '../../../../agent/membership/etcd/choose.ts';
import {parseFlannelConfig} from '../../../../agent/membership/flannel-config.ts';
import {formatCidr, parseCidr} from '../../../../lib/ip/cidr.ts';

const config = (json: unknown) => parseFlannelConfig(JSON.stringify(json), 'config');
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);
const small = config({Network: '10.5.0.0/22'});
const none = {taken: [], spared: []};

const choose = (conf: typeof small, options: Parameters<typeof chooseSubnets>[1], random = 0) =>
  chooseSubnets(conf, options, () => random)
    ?.map(formatCidr)
    .join(' ');

test('the first, the last, and none', (t) => {
  t.is(choose(small, none), '10.5.1.0/24');
  t.is(choose(small, none, 0.999), '10.5.3.0/24');
  t.is(choose(small, {taken: cidrs('10.5.1.0/24', '10.5.3.0/24'), spared: []}, 0.5), '10.5.2.0/24');
  t.is(choose(small, {taken: cidrs('10.5.1.0/24', '10.5.2.0/24', '10.5.3.0/24'), spared: []}), undefined);
});

test('subnets of another length: larger ones take several, smaller ones one', (t) => {
  t.is(choose(small, {taken: cidrs('10.5.0.0/23', '10.5.2.128/25'), spared: []}), '10.5.3.0/24');
  t.is(choose(small, {taken: cidrs('10.5.0.0/16'), spared: []}), undefined);
  t.is(choose(small, {taken: cidrs('10.5.2.0/23', '10.5.2.0/24', '10.5.0.0/30'), spared: []}), '10.5.1.0/24');
});

test('what others will want back is taken last', (t) => {
  t.is(choose(small, {taken: cidrs('10.5.1.0/24'), spared: cidrs('10.5.2.0/24')}), '10.5.3.0/24');
  t.is(
    choose(small, {taken: cidrs('10.5.1.0/24', '10.5.3.0/24'), spared: cidrs('10.5.2.0/24')}),
    '10.5.2.0/24',
  );
});

test('chance is among a hundred', (t) => {
  const large = config({Network: '10.0.0.0/8'});
  const seen = new Set(Array.from({length: 200}, (_, i) => choose(large, none, i / 200)));
  t.is(seen.size, 100);
  t.true(seen.has('10.0.100.0/24'));
});

test('two families are chosen apart', (t) => {
  const both = config({Network: '10.5.0.0/22', EnableIPv6: true, IPv6Network: 'fd00:5::/62'});
  t.is(
    choose(both, {taken: cidrs('10.5.1.0/24', 'fd00:5:0:1::/64', 'fd00:5:0:2::/64'), spared: []}),
    '10.5.2.0/24 fd00:5:0:3::/64',
  );
  t.true(fits(both, cidrs('10.5.2.0/24', 'fd00:5:0:3::/64')));
  t.false(fits(both, cidrs('10.5.2.0/24')));
});

test('what a host had before', (t) => {
  t.true(fits(small, cidrs('10.5.2.0/24')));
  for (const text of ['10.5.0.0/24', '10.5.2.0/25', '10.6.2.0/24']) t.false(fits(small, cidrs(text)), text);
  t.false(areFree(cidrs('10.5.2.0/24'), cidrs('10.5.2.128/25')));
  t.true(areFree(cidrs('10.5.2.0/24'), cidrs('10.5.3.0/24')));
});

test('five thousand hosts', (t) => {
  const taken = Array.from({length: 5000}, (_, i) => parseCidr(`10.${(i + 1) >> 8}.${(i + 1) & 255}.0/24`)!);
  t.is(choose(config({Network: '10.0.0.0/8'}), {taken, spared: []}), '10.19.137.0/24');
});
