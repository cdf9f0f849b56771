import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {
  array,
  attrs,
  eachAttribute,
  message,
  repeated,
  unknownAttributes,
} from '../../../lib/netlink/attrs.ts';
import {
  bool,
  bytes,
  flag,
  ip,
  mac,
  s32,
  s32be,
  string,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
  u8,
  type Codec,
} from '../../../lib/netlink/codec.ts';
import {Writer} from '../../../lib/netlink/writer.ts';
import {struct} from '../../../lib/netlink/struct.ts';

function hexOf<T>(codec: Pick<Codec<T>, 'put'>, value: T): string {
  const w = new Writer(1);
  codec.put(w, value);
  return w.bytes().toString('hex');
}

function read<T>(codec: Pick<Codec<T>, 'get'>, hex: string): T {
  // Something before and behind, so that a codec that ignores its bounds is found.
  const buffer = Buffer.from(`a5a5a5${hex}5a5a5a`, 'hex');
  return codec.get(buffer, 3, buffer.length - 3);
}

const both = test.macro(<T>(t: import('ava').ExecutionContext, codec: Codec<T>, value: T, hex: string) => {
  t.is(hexOf(codec, value), hex);
  t.deepEqual(read(codec, hex), value);
});

test('u8', both, u8, 0xab, 'ab');
test('u16 is in host order', both, u16, 0x1234, '3412');
test('u16be is in network order', both, u16be, 0x1234, '1234');
test('u32', both, u32, 0xfedc_ba98, '98badcfe');
test('u32be', both, u32be, 0xfedc_ba98, 'fedcba98');
test('s32', both, s32, -2, 'feffffff');
test('s32be', both, s32be, -2, 'fffffffe');
test('u64', both, u64, 0x0102_0304_0506_0708n, '0807060504030201');
test('u64be', both, u64be, 0x0102_0304_0506_0708n, '0102030405060708');
test('bool', both, bool, true, '01');
test('string', both, string, 'eth0', '6574683000');
test('a string may hold any UTF-8', both, string, 'é', 'c3a900');
test('mac', both, mac, '02:00:00:aa:bb:cc', '020000aabbcc');
test('a hardware address of twenty bytes', both, mac, Array(20).fill('ab').join(':'), 'ab'.repeat(20));
test('IPv4', both, ip, parseIp('10.1.2.3')!, '0a010203');
test('IPv6', both, ip, parseIp('fd00::1')!, 'fd000000000000000000000000000001');
test('array numbers its members', both, array(u32), [7, 8], '0800010007000000' + '0800020008000000');
test(
  'array with one number for all',
  both,
  array(u32, {type: 1}),
  [7, 8],
  '0800010007000000' + '0800010008000000',
);

test('a string without its zero byte is read', (t) => {
  t.is(read(string, '657468'), 'eth');
  t.is(read(string, ''), '');
});

test('bytes are a copy', (t) => {
  const source = Buffer.from('010203', 'hex');
  const got = bytes.get(source, 0, 3);
  source[0] = 9;
  t.deepEqual([...got], [1, 2, 3]);
});

test('numbers that do not fit are refused', (t) => {
  for (const [codec, value] of [
    [u8, 256],
    [u16, -1],
    [u32, 2 ** 32],
    [s32, 2 ** 31],
  ] as const) {
    t.throws(() => hexOf(codec, value), {instanceOf: RangeError});
  }
});

test('values that are too short are refused', (t) => {
  t.throws(() => read(u32, '0102'), {message: '2 bytes instead of 4'});
  t.throws(() => read(ip, '0102'), {message: 'an address of 2 bytes'});
  t.throws(() => read(struct({a: u32, b: u32}), '01020304'), {message: /8 bytes has only 4/});
});

const table = attrs({
  name: [3, string],
  on: [4, flag],
  nest: [5, attrs({value: [1, u16]})],
  many: [6, repeated(u16)],
});

test('attributes are padded, nests are marked, flags are empty', (t) => {
  const value = {name: 'abcd', on: true, nest: {value: 0x0102}, many: [1, 2]};
  const hex =
    // length 9, number 3, "abcd\0", padding
    '090003006162636400' +
    '000000' +
    // length 4, number 4
    '04000400' +
    // length 12, number 5 | NLA_F_NESTED; length 6, number 1, padding
    ('0c000580' + '060001000201' + '0000') +
    ('060006000100' + '0000') +
    ('060006000200' + '0000');
  t.is(hexOf(table, value), hex);
  t.deepEqual(read(table, hex), value);
});

test('what is undefined or a false flag is not written', (t) => {
  t.is(hexOf(table, {name: undefined, on: false, many: []}), '');
  t.deepEqual(read(table, ''), {});
});

test('a number keeps its meaning with NLA_F_NESTED or NLA_F_NET_BYTEORDER set', (t) => {
  t.deepEqual(read(table, '0c000540' + '060001800201' + '0000').nest, {value: 0x0102});
});

test('unknown attributes are kept and written back', (t) => {
  const hex = '0800ff0001020304' + '0a00c880aabbccddeeff0000' + '0500030000000000';
  const value = read(table, hex);
  t.is(value.name, '');
  t.deepEqual(unknownAttributes(value), [
    {type: 255, bytes: Buffer.from('01020304', 'hex')},
    {type: 200, bytes: Buffer.from('aabbccddeeff', 'hex')},
  ]);
  t.is(hexOf(table, {...value, name: 'x'}), '0600030078000000' + hex.slice(0, 40));
  t.deepEqual(unknownAttributes({}), []);
});

test('attributes that run past their end are refused', (t) => {
  for (const hex of ['0900030061', '03000300', '00000000', 'ffff0300']) {
    t.throws(() => read(table, hex), {message: /runs past the end/}, hex);
    t.throws(() => read(array(u32), hex), {message: /runs past the end/}, hex);
  }
});

test('an error in a value names the attribute', (t) => {
  t.throws(() => read(table, '0c000500' + '0500010001000000'), {
    message: 'nest: value: 1 bytes instead of 2',
  });
});

test('fewer than four bytes at the end are padding', (t) => {
  t.deepEqual(read(table, '04000400' + '000000'), {on: true});
});

test('an attribute longer than 65535 bytes is refused', (t) => {
  t.throws(() => hexOf(attrs({data: [1, bytes]}), {data: new Uint8Array(65_532)}), {
    message: /65536 bytes long/,
  });
  t.notThrows(() => hexOf(attrs({data: [1, bytes]}), {data: new Uint8Array(65_531)}));
});

test('a writer grows', (t) => {
  const w = new Writer(4);
  w.append(new Uint8Array(3).fill(1));
  w.align();
  w.append(new Uint8Array(1000).fill(2));
  t.is(w.bytes().length, 1004);
  t.is(w.bytes()[3], 0);
});

test('a struct is laid out as in C', (t) => {
  const layout = struct({a: u8, b: u32, c: u8, d: u16, e: u8, f: u64, g: u8});
  t.deepEqual(layout.offsets, {a: 0, b: 4, c: 8, d: 10, e: 12, f: 16, g: 24});
  t.is(layout.size, 32);
  const value = {a: 1, b: 2, c: 3, d: 4, e: 5, f: 6n, g: 7};
  const hex = '01000000' + '02000000' + '03000400' + '05000000' + '0600000000000000' + '0700000000000000';
  t.is(hexOf(layout, value), hex);
  t.deepEqual(read(layout, `${hex}ffff`), value);
});

test('fields of a struct that are left out are zero', (t) => {
  const w = new Writer();
  struct({a: u8, b: u32}).putPart(w, {b: 1});
  t.is(w.bytes().toString('hex'), '0000000001000000');
});

test('a struct may stand in a struct', (t) => {
  const outer = struct({x: u8, inner: struct({a: u8, b: u16}), y: u8});
  t.deepEqual(outer.offsets, {x: 0, inner: 2, y: 6});
  t.is(hexOf(outer, {x: 1, inner: {a: 2, b: 3}, y: 4}), '0100' + '02000300' + '0400');
});

test('a message is a header and attributes', (t) => {
  const codec = message(struct({family: u8, index: u32}), table);
  const hex = '0200000007000000' + '0500030000000000';
  t.is(hexOf(codec, {header: {family: 2, index: 7}, attributes: {name: ''}}), hex);
  t.deepEqual(read(codec, hex), {header: {family: 2, index: 7}, attributes: {name: ''}});
});

test('eachAttribute gives the place of every payload', (t) => {
  const seen: number[][] = [];
  const buffer = Buffer.from('0500018001000000' + '04000200', 'hex');
  eachAttribute(buffer, 0, buffer.length, (number, from, to) => seen.push([number, from, to]));
  t.deepEqual(seen, [
    [1, 4, 5],
    [2, 12, 12],
  ]);
});
