import dgram from 'node:dgram';
import {once} from 'node:events';
import net from 'node:net';
import packet from 'dns-packet';

/*
 * Run inside a namespace: `node dns-worker.ts ask JSON` asks each of a list of questions, all at once, and prints the answers as a list.
 * `node dns-worker.ts serve JSON` is a server on port 53 of every address, with {"name": "address"} for answers.
 */

export interface Question {
  readonly server: string;
  readonly name: string;
  readonly type?: string;
  readonly transport?: 'udp' | 'tcp';
  /** The size of datagrams that the client says it takes. */
  readonly ednsSize?: number;
}

export interface Answer {
  /** `NOERROR`, `NXDOMAIN`, …; `TIMEOUT` and errors' codes where there is no answer. */
  readonly rcode: string;
  readonly answers: readonly {
    readonly name: string;
    readonly type: string;
    readonly ttl: number;
    readonly data: unknown;
  }[];
  readonly authority: readonly string[];
  readonly authoritative: boolean;
  readonly truncated: boolean;
  readonly bytes: number;
}

// Beside other tests a process may have to wait for a processor.
const patienceMs = 8000;
const askAgainMs = 2000;
const [verb, json = '[]'] = process.argv.slice(2);

if (verb === 'serve') {
  const known = JSON.parse(json) as Readonly<Record<string, string>>;
  const server = dgram.createSocket({type: 'udp6', ipv6Only: false});
  server.on('message', (message, {address, port}) => server.send(reply(message, known), port, address));
  server.bind(53, '::', () => console.log('ready'));
} else if (verb === 'ask') {
  console.log(JSON.stringify(await Promise.all((JSON.parse(json) as Question[]).map(ask))));
}

function reply(message: Buffer, known: Readonly<Record<string, string>>): Buffer {
  const {id, questions = []} = packet.decode(message);
  const [question] = questions;
  const data = question && known[question.name];
  return packet.encode({
    type: 'response',
    ...(id !== undefined && {id}),
    flags: packet.RECURSION_AVAILABLE | (data === undefined ? 3 : 0),
    questions,
    answers: data === undefined ? [] : [{name: question!.name, type: 'A', ttl: 60, data}],
  });
}

async function ask(question: Question): Promise<Answer> {
  const {name, type = 'A', ednsSize, transport = 'udp'} = question;
  const message = packet.encode({
    type: 'query',
    id: Math.floor(Math.random() * 65_536),
    flags: packet.RECURSION_DESIRED,
    questions: [{name, type: type as packet.RecordType, class: 'IN'}],
    ...(ednsSize !== undefined && {
      additionals: [{name: '.', type: 'OPT', udpPayloadSize: ednsSize, flags: 0} as packet.OptAnswer],
    }),
  });
  try {
    return describe(await (transport === 'udp' ? askUdp : askTcp)(question.server, message));
  } catch (error) {
    const rcode = (error as NodeJS.ErrnoException).code ?? 'TIMEOUT';
    return {rcode, answers: [], authority: [], authoritative: false, truncated: false, bytes: 0};
  }
}

function describe(bytes: Buffer): Answer {
  const decoded = packet.decode(bytes) as packet.DecodedPacket & {rcode: string};
  return {
    rcode: decoded.rcode,
    answers: (decoded.answers ?? []).map((each) => ({
      name: each.name,
      type: each.type,
      ttl: 'ttl' in each ? (each.ttl ?? 0) : 0,
      data: 'data' in each ? each.data : undefined,
    })),
    authority: (decoded.authorities ?? []).map(({name, type}) => `${name} ${type}`),
    authoritative: decoded.flag_aa,
    truncated: decoded.flag_tc,
    bytes: bytes.length,
  };
}

async function askUdp(server: string, message: Buffer): Promise<Buffer> {
  const socket = dgram.createSocket(server.includes(':') ? 'udp6' : 'udp4');
  let again: NodeJS.Timeout | undefined;
  try {
    socket.connect(53, server);
    await once(socket, 'connect');
    socket.send(message);
    again = setInterval(() => socket.send(message), askAgainMs);
    const [reply] = (await once(socket, 'message', {signal: AbortSignal.timeout(patienceMs)})) as [Buffer];
    return reply;
  } finally {
    clearInterval(again);
    socket.close();
  }
}

async function askTcp(server: string, message: Buffer): Promise<Buffer> {
  const socket = net.connect({host: server, port: 53, signal: AbortSignal.timeout(patienceMs)});
  socket.write(Buffer.concat([Buffer.from([message.length >> 8, message.length & 0xff]), message]));
  let received = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    if (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) break;
  }
  socket.destroy();
  return received.subarray(2);
}
