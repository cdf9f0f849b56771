import test from 'ava';
import {
  formatCall,
  messageLength,
  messageTypes,
  parseMessage,
} from '../../../plugins/firewall/dbus-message.ts';

const method = {
  destination: 'org.fedoraproject.FirewallD1',
  path: '/org/fedoraproject/FirewallD1',
  interface: 'org.fedoraproject.FirewallD1.zone',
} as const;

test('a call has its fields at their places', (t) => {
  const call = formatCall({...method, member: 'addSource'}, ['trusted', '10.1.0.5/32'], 7);
  t.is(call.subarray(0, 4).toString('hex'), '6c010001');
  t.is(call.readUInt32LE(8), 7);
  t.is(messageLength(call), call.length);
  const body = call.subarray(call.length - call.readUInt32LE(4));
  t.is(
    body.toString('hex'),
    '07000000' +
      Buffer.from('trusted\0').toString('hex') +
      '0b000000' +
      Buffer.from('10.1.0.5/32\0').toString('hex'),
  );
  t.true(call.includes(Buffer.from('\x08\x01g\0\x02ss\0')));
  t.is(call.indexOf(Buffer.from('\x01\x01o\0')) % 8, 0);
});

test('a call without arguments has no body and no signature', (t) => {
  const call = formatCall({...method, member: 'Hello'}, [], 1);
  t.is(call.readUInt32LE(4), 0);
  t.is(call.length % 8, 0);
  t.false(call.includes(Buffer.from('\x08\x01g\0')));
});

/** A reply as a bus in network order would send it. */
function reply({big = false, type = 2, signature = '', body = Buffer.alloc(0), error = ''}) {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    if (big) bytes.writeUInt32BE(value);
    else bytes.writeUInt32LE(value);
    return bytes;
  };
  const pad = (bytes: Buffer) => Buffer.concat([bytes, Buffer.alloc((8 - (bytes.length % 8)) % 8)]);
  const fields = [Buffer.concat([Buffer.from('\x05\x01u\0'), u32(9)])];
  if (error)
    fields.push(Buffer.concat([Buffer.from('\x04\x01s\0'), u32(error.length), Buffer.from(`${error}\0`)]));
  // A field of a type of its own: the number of file descriptors.
  fields.push(Buffer.concat([Buffer.from('\x09\x01u\0'), u32(0)]));
  if (signature)
    fields.push(Buffer.from(`\x08\x01g\0${String.fromCharCode(signature.length)}${signature}\0`));
  const list = Buffer.concat([...fields.slice(0, -1).map(pad), fields.at(-1)!]);
  const head = Buffer.concat([
    Buffer.from([big ? 0x42 : 0x6c, type, 0, 1]),
    u32(body.length),
    u32(3),
    u32(list.length),
  ]);
  return Buffer.concat([pad(Buffer.concat([head, list])), body]);
}

for (const big of [false, true]) {
  test(`replies are read, ${big ? 'big' : 'little'} endian`, (t) => {
    const number = (value: number) => (big ? Buffer.from([0, 0, 0, value]) : Buffer.from([value, 0, 0, 0]));
    const boolean = reply({big, signature: 'b', body: number(1)});
    t.is(messageLength(boolean), boolean.length);
    t.deepEqual(parseMessage(boolean), {
      type: messageTypes.reply,
      replySerial: 9,
      errorName: undefined,
      value: true,
    });
    const text = reply({
      big,
      type: 3,
      error: 'org.fedoraproject.FirewallD1.Exception',
      signature: 's',
      body: Buffer.concat([number(16), Buffer.from('ZONE_ALREADY_SET\0')]),
    });
    t.deepEqual(parseMessage(text), {
      type: messageTypes.error,
      replySerial: 9,
      errorName: 'org.fedoraproject.FirewallD1.Exception',
      value: 'ZONE_ALREADY_SET',
    });
    t.is(parseMessage(reply({big})).value, undefined);
  });
}

test('a message that is not all there has no length yet, and what is no message is refused', (t) => {
  const whole = reply({});
  t.is(messageLength(whole.subarray(0, 15)), undefined);
  t.is(messageLength(whole.subarray(0, 16)), whole.length);
  t.throws(() => messageLength(Buffer.from('HTTP/1.1 400 Bad')), {message: 'what came is no D-Bus message'});
  t.throws(() => messageLength(Buffer.from('6c020001ffffffff0100000000000000', 'hex')), {
    message: /^a D-Bus message of/,
  });
});
