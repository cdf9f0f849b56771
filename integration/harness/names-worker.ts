import dgram from 'node:dgram';
import {once} from 'node:events';
import net from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';
import packet from 'dns-packet';
import {makeRandom, type Random} from './random.ts';

/*
 * Clients of a DNS server that try its patience; run inside a container's namespace.
 *   load SERVER NAME…          asks for the names, one after the other on each of 8 sockets, until stdin ends; prints what became of them
 *   fuzz SERVER NAME SEED N    sends N broken messages over UDP and TCP, and prints whether the server answers a good one now and then
 *   slow SERVER NAME COUNT     opens connections that say nothing or half a message, and prints whether others are answered meanwhile
 *   flood SERVER NAME N        sends N questions at once, and prints how many answers of each code came
 */

const [verb, server = '', name = '', ...rest] = process.argv.slice(2);
const port = 53;

function question(id: number, about: string, type: packet.RecordType = 'A'): Buffer {
  return packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{name: about, type, class: 'IN'}],
    additionals: [{name: '.', type: 'OPT', udpPayloadSize: 1232, flags: 0} as packet.OptAnswer],
  });
}

async function connect(): Promise<dgram.Socket> {
  const socket = dgram.createSocket(server.includes(':') ? 'udp6' : 'udp4');
  socket.connect(port, server);
  await once(socket, 'connect');
  socket.on('error', () => {});
  return socket;
}

/** The code of the answer; nothing where none comes in time. */
function askOnce(socket: dgram.Socket, message: Buffer, patienceMs: number): Promise<number | undefined> {
  const {promise, resolve} = Promise.withResolvers<number | undefined>();
  const timer = setTimeout(() => resolve(undefined), patienceMs);
  const onMessage = (answer: Buffer) => {
    if (answer.length >= 12 && answer.readUInt16BE(0) === message.readUInt16BE(0)) {
      resolve(answer.readUInt16BE(2) & 0xf);
    }
  };
  socket.on('message', onMessage);
  socket.send(message);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.off('message', onMessage);
  });
}

async function load(names: readonly string[]): Promise<object> {
  const codes: Record<string, number> = {};
  let isOver = false;
  process.stdin.resume().once('end', () => (isOver = true));
  let id = 0;
  const one = async () => {
    const socket = await connect();
    while (!isOver) {
      const about = names[++id % names.length]!;
      const code = String((await askOnce(socket, question(id & 0xffff, about), 10_000)) ?? 'lost');
      codes[code] = (codes[code] ?? 0) + 1;
    }
    socket.close();
  };
  console.log('ready');
  await Promise.all(Array.from({length: 8}, one));
  return codes;
}

function mutate(random: Random, message: Buffer): Buffer {
  const bytes = [...message];
  for (let count = 1 + random.below(6); count > 0; count--) {
    const at = random.below(bytes.length + 1);
    const kind = random.below(6);
    if (kind === 0) bytes.length = at;
    else if (kind === 1)
      bytes.splice(at, 0, ...Array.from({length: random.below(40)}, () => random.below(256)));
    else if (kind === 2) bytes.splice(at, 1 + random.below(4));
    // Pointers, lengths and counts are where a decoder goes wrong.
    else if (kind === 3 && at < bytes.length) bytes[at] = random.pick([0, 1, 63, 64, 128, 192, 193, 255]);
    else if (at < bytes.length) bytes[at] = random.below(256);
  }
  return Buffer.from(bytes);
}

async function fuzz(seed: number, count: number): Promise<object> {
  const random = makeRandom(seed);
  const types = ['A', 'AAAA', 'PTR', 'SRV', 'TXT', 'SOA', 'NS', 'MX'] as const;
  const names = [name, 'nobody', `_http._tcp.${name}`, '2.0.61.10.in-addr.arpa', 'a'.repeat(60), ''];
  const make = () => mutate(random, question(random.below(65_536), random.pick(names), random.pick(types)));
  const socket = await connect();
  const asker = await connect();
  let answered = 0;
  let missed = 0;
  for (let done = 0; done < count; done += 100) {
    for (let i = 0; i < 100; i++) {
      const message = make();
      if (message.length > 0) socket.send(message);
    }
    const conversations = Array.from({length: 5}, () => converse(random, make));
    const code = await askOnce(asker, question(done & 0xffff, name), 10_000);
    if (code === 0) answered++;
    else missed++;
    await Promise.all(conversations);
  }
  socket.close();
  asker.close();
  return {seed, answered, missed};
}

/** Some broken messages on one connection, which ends in a way that a server may not like. */
async function converse(random: Random, make: () => Buffer): Promise<void> {
  const connection = net.connect({host: server, port});
  connection.on('error', () => {});
  connection.on('data', () => {});
  const chunks = Array.from({length: 1 + random.below(4)}, () => {
    const message = make();
    const length = Buffer.alloc(2);
    length.writeUInt16BE(random.oneIn(4) ? random.below(65_536) : message.length);
    return Buffer.concat([length, message]);
  });
  const end = random.below(3);
  try {
    await once(connection, 'connect', {signal: AbortSignal.timeout(5000)});
    for (const chunk of chunks) connection.write(chunk);
    if (end === 0) connection.resetAndDestroy();
    else if (end === 1) connection.end();
    else await sleep(5);
  } catch {
    // It was closed meanwhile: quite right.
  }
  connection.destroy();
}

async function slow(count: number): Promise<object> {
  const half = Buffer.from([0, 40, 1, 2, 3]);
  const open = Array.from({length: count}, (_, i) => {
    const connection = net.connect({host: server, port});
    connection.on('error', () => {});
    if (i % 2 === 0) connection.write(half);
    return connection;
  });
  const closed = Promise.all(open.map((each) => once(each.resume(), 'close')));
  await Promise.all(open.map((each) => once(each, 'connect').catch(() => {})));
  const asker = await connect();
  const udp = await askOnce(asker, question(1, name), 10_000);
  asker.close();
  const started = performance.now();
  await Promise.race([closed, sleep(60_000, undefined, {ref: false})]);
  const gone = open.filter((each) => each.closed).length;
  for (const each of open) each.destroy();
  return {udp, closed: gone, afterMs: Math.round(performance.now() - started)};
}

async function flood(count: number): Promise<object> {
  const socket = await connect();
  const codes: Record<string, number> = {};
  socket.on('message', (answer) => {
    const code = String(answer.readUInt16BE(2) & 0xf);
    codes[code] = (codes[code] ?? 0) + 1;
  });
  for (let i = 0; i < count; i++) {
    socket.send(question(i & 0xffff, name));
    if (i % 50 === 0) await sleep(0);
  }
  // Some get lost.
  const answered = () => Object.values(codes).reduce((sum, each) => sum + each, 0);
  for (const deadline = Date.now() + 10_000; answered() < count && Date.now() < deadline;) {
    const before = answered();
    await sleep(1000);
    if (answered() > 0 && answered() === before) break;
  }
  socket.close();
  return codes;
}

const verbs: Readonly<Record<string, () => Promise<object>>> = {
  load: () => load([name, ...rest]),
  fuzz: () => fuzz(Number(rest[0]), Number(rest[1])),
  slow: () => slow(Number(rest[0])),
  flood: () => flood(Number(rest[0])),
};
console.log(JSON.stringify(await verbs[verb ?? '']!()));
process.exit(0);
