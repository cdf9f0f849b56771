import {createSocket} from 'node:dgram';
import {once} from 'node:events';
import {connect} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import packet from 'dns-packet';
import {Forwarder, type ForwarderOptions} from '../../../agent/dns/forwarder.ts';
import {listenDns, type Handler, type Listener} from '../../../agent/dns/listener.ts';
import {readQuery, type Query} from '../../../agent/dns/query.ts';
import type {Upstream} from '../../../agent/dns/relay.ts';

function makeQuestion(name: string, id = 7): {message: Buffer; query: Query} {
  const message = packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{name, type: 'A', class: 'IN'}],
  });
  const incoming = readQuery(message);
  if (incoming.kind !== 'query') throw new Error(incoming.kind);
  return {message, query: incoming.query};
}

function reply(message: Buffer, more: packet.Packet): Buffer {
  const {id, questions} = packet.decode(message);
  return packet.encode({type: 'response', id: id!, questions: questions!, ...more});
}

const found =
  (data: string, ttl = 60): Handler =>
  (message) =>
    reply(message, {answers: [{name: packet.decode(message).questions![0]!.name, type: 'A', ttl, data}]});

async function serve(t: ExecutionContext, handler: Handler): Promise<Listener & Upstream> {
  const listener = await listenDns({address: '127.0.0.1', port: 0, handler});
  t.teardown(() => listener.close());
  return listener;
}

function makeForwarder(options: Partial<ForwarderOptions>): Forwarder {
  return new Forwarder({
    hostUpstreams: () => [],
    zones: new Map(),
    isOwn: () => false,
    timeoutMs: 5000,
    maxInFlight: 100,
    ...options,
  });
}

const addressIn = (message: Buffer | undefined) => {
  const [first] = message ? (packet.decode(message).answers ?? []) : [];
  return first && 'data' in first ? first.data : undefined;
};

for (const transport of ['udp', 'tcp'] as const) {
  test(`a question is passed on as it came and the answer back, over ${transport}`, async (t) => {
    const seen: Buffer[] = [];
    const upstream = await serve(t, (message, client) => {
      seen.push(Buffer.from(message));
      return found('192.0.2.1')(message, client);
    });
    const {message, query} = makeQuestion('ExAmple.org');
    const answer = await makeForwarder({}).forward(message, query, {upstreams: [upstream], transport});
    t.is(addressIn(answer), '192.0.2.1');
    t.is(answer!.readUInt16BE(0), 7);
    t.deepEqual(seen[0]!.subarray(2), message.subarray(2));
  });
}

test('the next server is asked when one refuses, fails or is silent', async (t) => {
  const silent = createSocket('udp4').bind(0, '127.0.0.1');
  await once(silent, 'listening');
  t.teardown(() => silent.close());
  const refusing = await serve(t, (message) => reply(message, {flags: 5}));
  const good = await serve(t, found('192.0.2.2'));
  const {message, query} = makeQuestion('example.org');
  const upstreams = [{address: '127.0.0.1', port: silent.address().port}, refusing, good];
  const forwarder = makeForwarder({timeoutMs: 1000});
  t.is(addressIn(await forwarder.forward(message, query, {upstreams, transport: 'udp'})), '192.0.2.2');
  t.is(forwarder.figures.asked, 3);
});

test('answers are kept, count down, and serve when no server answers', async (t) => {
  let now = 0;
  let isUp = true;
  let asked = 0;
  const upstream = await serve(t, (message, client) => {
    asked++;
    return isUp ? found('192.0.2.3', 60)(message, client) : reply(message, {flags: 2});
  });
  const forwarder = makeForwarder({now: () => now, timeoutMs: 500});
  const ask = async (id: number) => {
    const {message, query} = makeQuestion('example.org', id);
    const answer = await forwarder.forward(message, query, {upstreams: [upstream], transport: 'udp'});
    return packet.decode(answer!);
  };
  t.like((await ask(1)).answers?.[0], {ttl: 60});
  now = 20_000;
  const second = await ask(2);
  t.is(second.id, 2);
  t.like(second.answers?.[0], {ttl: 40});
  t.is(asked, 1);
  now = 61_000;
  await upstream.close();
  isUp = false;
  t.like((await ask(3)).answers?.[0], {ttl: 30, data: '192.0.2.3'});
  t.is(forwarder.figures.staleAnswers, 1);
});

test('zones have servers of their own, our own addresses are never asked', async (t) => {
  const host = await serve(t, found('192.0.2.4'));
  const corp = await serve(t, found('192.0.2.5'));
  const forwarder = makeForwarder({
    hostUpstreams: () => [host],
    zones: new Map([
      ['corp', [corp]],
      ['own.corp', [host]],
    ]),
    isOwn: ({port}) => port === host.port && false,
  });
  const ask = async (name: string, from: Forwarder = forwarder) => {
    const {message, query} = makeQuestion(name);
    return addressIn(await from.forward(message, query, {upstreams: [], transport: 'udp'}));
  };
  t.is(await ask('example.org'), '192.0.2.4');
  t.is(await ask('a.corp'), '192.0.2.5');
  t.is(await ask('a.own.corp'), '192.0.2.4');
  t.is(await ask('xcorp'), '192.0.2.4');
  const looped = makeForwarder({hostUpstreams: () => [host], isOwn: () => true});
  t.is(await ask('example.org', looped), undefined);
});

test('many of the same question are asked once; too many different ones are not asked', async (t) => {
  let asked = 0;
  const waiting: (() => void)[] = [];
  const upstream = await serve(t, async (message, client) => {
    asked++;
    await new Promise<void>((resolve) => waiting.push(resolve));
    return found('192.0.2.6')(message, client);
  });
  const forwarder = makeForwarder({maxInFlight: 2});
  const ask = (name: string, id: number) => {
    const {message, query} = makeQuestion(name, id);
    return forwarder.forward(message, query, {upstreams: [upstream], transport: 'udp'});
  };
  const same = Array.from({length: 20}, (_, id) => ask('a.example', id));
  const other = ask('b.example', 99);
  t.is(await ask('c.example', 100), undefined);
  t.is(forwarder.figures.refused, 1);
  while (waiting.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  for (const go of waiting) go();
  const answers = await Promise.all(same);
  t.deepEqual(
    answers.map((each) => each?.readUInt16BE(0)),
    Array.from({length: 20}, (_, id) => id),
  );
  t.is(addressIn(await other), '192.0.2.6');
  t.is(asked, 2);
});

test('an answer that is to another question, or of another id, does not count', async (t) => {
  const upstream = createSocket('udp4').bind(0, '127.0.0.1');
  await once(upstream, 'listening');
  t.teardown(() => upstream.close());
  upstream.on('message', (message, {port}) => {
    const forged = Buffer.from(found('203.0.113.1')(message, {ip: '', transport: 'udp'}) as Buffer);
    forged.writeUInt16BE(forged.readUInt16BE(0) ^ 1, 0);
    const other = reply(makeQuestion('other.example').message, {});
    message.copy(other, 0, 0, 2);
    for (const each of [forged, other, found('192.0.2.7')(message, {ip: '', transport: 'udp'}) as Buffer]) {
      upstream.send(each, port, '127.0.0.1');
    }
  });
  const {message, query} = makeQuestion('example.org');
  const upstreams = [{address: '127.0.0.1', port: upstream.address().port}];
  t.is(
    addressIn(await makeForwarder({}).forward(message, query, {upstreams, transport: 'udp'})),
    '192.0.2.7',
  );
});

test('one connection may hold many questions, in pieces, and is answered as they are ready', async (t) => {
  const server = await serve(t, found('192.0.2.8'));
  const socket = connect(server.port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  const stream = Buffer.concat(
    Array.from({length: 200}, (_, id) => {
      const {message} = makeQuestion('example.org', id);
      return Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message]);
    }),
  );
  for (let at = 0; at < stream.length; at += 777) socket.write(stream.subarray(at, at + 777));
  let received = Buffer.alloc(0);
  const ids = new Set<number>();
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      ids.add(received.readUInt16BE(2));
      received = received.subarray(2 + received.readUInt16BE(0));
    }
    if (ids.size === 200) break;
  }
  t.is(ids.size, 200);
});

test('a slow client does not keep others out', async (t) => {
  const listener = await listenDns({
    address: '127.0.0.1',
    port: 0,
    handler: found('192.0.2.9'),
    idleMs: 300,
    maxConnectionsPerClient: 4,
  });
  t.teardown(() => listener.close());
  const slow = Array.from({length: 8}, () => connect(listener.port, '127.0.0.1'));
  for (const socket of slow) {
    socket.on('error', () => {});
    socket.write(Buffer.from([0, 40, 1]));
  }
  // All are closed: those beyond the limit at once, the others when nothing comes.
  await Promise.all(slow.map((socket) => new Promise((resolve) => socket.once('close', resolve))));
  const {message, query} = makeQuestion('example.org');
  t.is(
    addressIn(await makeForwarder({}).forward(message, query, {upstreams: [listener], transport: 'tcp'})),
    '192.0.2.9',
  );
});
