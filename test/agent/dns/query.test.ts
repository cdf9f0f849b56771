import {randomBytes, randomInt} from 'node:crypto';
import test from 'ava';
import packet from 'dns-packet';
import {readQuery} from '../../../agent/dns/query.ts';

const question = (name: string, type: packet.RecordType = 'A') => ({name, type, class: 'IN' as const});

test('a question is read, its name in lower case', (t) => {
  const message = packet.encode({
    type: 'query',
    id: 4711,
    flags: packet.RECURSION_DESIRED,
    questions: [question('Web.Net1.Example', 'SRV')],
  });
  const incoming = readQuery(message);
  if (incoming.kind !== 'query') return t.fail();
  const {query} = incoming;
  t.like(query, {id: 4711, name: 'web.net1.example', type: 33, class: 1, recursionDesired: true});
  t.is(query.edns, undefined);
  t.is(Buffer.from(query.question).toString('latin1', 1, 4), 'Web');
});

test("a client's OPT record is read", (t) => {
  const message = packet.encode({
    type: 'query',
    id: 1,
    questions: [question('a')],
    additionals: [
      {
        name: '.',
        type: 'OPT',
        udpPayloadSize: 1400,
        extendedRcode: 0,
        ednsVersion: 0,
        flags: packet.DNSSEC_OK,
        flag_do: true,
        options: [],
      },
    ],
  });
  const incoming = readQuery(message);
  t.deepEqual(incoming.kind === 'query' && incoming.query.edns, {udpSize: 1400, version: 0, dnssec: true});
});

test('bytes that are no letters do not make other labels', (t) => {
  const message = Buffer.concat([
    Buffer.from('000101000001000000000000', 'hex'),
    Buffer.from([3]),
    Buffer.from('a.b'),
    Buffer.from([0, 0, 1, 0, 1]),
  ]);
  const incoming = readQuery(message);
  t.is(incoming.kind === 'query' ? incoming.query.name : incoming.kind, 'a\\046b');
});

test('answers are ignored, other messages get an error', (t) => {
  const header = (flags: string, rest = '0001000000000000') => Buffer.from(`0007${flags}${rest}`, 'hex');
  t.deepEqual(readQuery(Buffer.alloc(11)), {kind: 'ignore'});
  t.deepEqual(readQuery(header('8000')), {kind: 'ignore'});
  t.deepEqual(readQuery(header('2900')), {kind: 'error', id: 7, flags: 0x2900, rcode: 4});
  t.deepEqual(readQuery(header('0100')), {kind: 'error', id: 7, flags: 0x0100, rcode: 1});
  t.deepEqual(readQuery(header('0100', '0002000000000000')), {kind: 'error', id: 7, flags: 0x0100, rcode: 1});
});

test('whatever the bytes are, nothing is thrown', (t) => {
  const whole = packet.encode({
    type: 'query',
    id: 1,
    questions: [question('web.net1.example')],
    additionals: [],
  });
  for (let round = 0; round < 20_000; round++) {
    const message = Buffer.concat([whole, randomBytes(randomInt(0, 20))]);
    for (let i = randomInt(1, 5); i > 0; i--) message[randomInt(message.length)] = randomInt(256);
    const cut = message.subarray(0, randomInt(message.length + 1));
    t.notThrows(() => readQuery(cut), cut.toString('hex'));
  }
});
