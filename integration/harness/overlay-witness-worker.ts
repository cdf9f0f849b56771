import dgram from 'node:dgram';
import net from 'node:net';
import {setTimeout as sleep} from 'node:timers/promises';

/*
 * A witness of the traffic between two pods, run inside one: `node overlay-witness-worker.ts serve PORT` answers UDP and TCP
 * by what it got. `node overlay-witness-worker.ts probe ADDRESS PORT INTERVAL_MS` sends numbered UDP packets and numbered
 * TCP messages on one connection, and when its stdin ends prints one line of JSON (WitnessReport of overlay-witness.ts).
 * `node overlay-witness-worker.ts ask ADDRESS PORT SECONDS` sends four bytes again when they came back, and prints how often.
 */

// Without any answer for so long, none comes.
const patienceMs = 2000;

const [verb, first = '', second = '', third = '20'] = process.argv.slice(2);

if (verb === 'serve') serve(Number(first));
else if (verb === 'ask') ask(first, Number(second), Number(third));
else probe(first, Number(second), Number(third));

function serve(port: number): void {
  const udp = dgram.createSocket('udp6');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address, () => {}));
  const tcp = net.createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  udp.bind(port, '::', () => tcp.listen(port, '::', () => console.log('ready')));
}

function ask(address: string, port: number, seconds: number): void {
  const request = Buffer.alloc(4);
  let answered = 0;
  const socket = net.connect({host: address, port});
  socket.setNoDelay(true);
  socket.on('connect', () => {
    socket.write(request);
    setTimeout(() => {
      console.log(`answered ${answered}`);
      process.exit();
    }, seconds * 1000);
  });
  socket.on('data', () => {
    answered++;
    socket.write(request);
  });
}

function probe(address: string, port: number, intervalMs: number): void {
  const sentAt: number[] = [];
  const answeredAt: (number | undefined)[] = [];
  let highest = -1;
  let reordered = 0;
  let duplicated = 0;
  let refused = 0;
  const udp = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (message) => {
    const number = message.readUInt32BE(0);
    if (answeredAt[number] !== undefined) duplicated++;
    else answeredAt[number] = performance.now();
    if (number < highest) reordered++;
    highest = Math.max(highest, number);
  });
  udp.on('error', () => refused++);

  let tcpSent = 0;
  let tcpAnswered = 0;
  let tcpClosed: string | undefined;
  let longestStallMs = 0;
  let lastAnswer = performance.now();
  let rest: Buffer = Buffer.alloc(0);
  const tcp = net.connect({host: address, port});
  tcp.setNoDelay(true);
  tcp.on('data', (chunk: Buffer) => {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    while (rest.length >= 4) {
      if (rest.readUInt32BE(0) !== tcpAnswered) tcpClosed = 'the stream is not what was sent';
      tcpAnswered++;
      rest = rest.subarray(4);
    }
    longestStallMs = Math.max(longestStallMs, performance.now() - lastAnswer);
    lastAnswer = performance.now();
  });
  tcp.on('error', (error) => (tcpClosed ??= error.message));
  tcp.on('close', () => (tcpClosed ??= 'closed'));
  let timer: NodeJS.Timeout | undefined;
  tcp.on('connect', () => {
    lastAnswer = performance.now();
    longestStallMs = 0;
    // Not before: what cannot get there yet is not lost.
    timer = setInterval(send, intervalMs);
    console.log('ready');
  });

  function send(): void {
    const packet = Buffer.alloc(4);
    packet.writeUInt32BE(sentAt.length, 0);
    sentAt.push(performance.now());
    udp.send(packet, port, address, (error) => {
      if (error) refused++;
    });
    if (tcp.readyState === 'open') {
      const message = Buffer.alloc(4);
      message.writeUInt32BE(tcpSent++, 0);
      tcp.write(message);
    }
  }

  /** What is on its way has time to arrive; what does not is lost. */
  async function settle(): Promise<void> {
    const answers = () => answeredAt.filter((at) => at !== undefined).length + tcpAnswered;
    let known = answers();
    for (let quietMs = 0; quietMs < patienceMs && known < sentAt.length + tcpSent; quietMs += 50) {
      await sleep(50);
      if (answers() > known) quietMs = 0;
      known = answers();
    }
  }

  process.stdin.resume();
  process.stdin.on('end', () => {
    clearInterval(timer);
    void settle().then(() => {
      const windows: {fromMs: number; packets: number; lengthMs: number}[] = [];
      let lost = 0;
      for (const [number, at] of sentAt.entries()) {
        if (answeredAt[number] !== undefined) continue;
        lost++;
        const last = windows.at(-1);
        if (number > 0 && answeredAt[number - 1] === undefined && last !== undefined) {
          last.packets++;
          last.lengthMs = (sentAt[number + 1] ?? at + intervalMs) - (sentAt[0]! + last.fromMs);
        } else {
          windows.push({
            fromMs: at - sentAt[0]!,
            packets: 1,
            lengthMs: (sentAt[number + 1] ?? at + intervalMs) - at,
          });
        }
      }
      longestStallMs = Math.max(longestStallMs, tcpSent > tcpAnswered ? performance.now() - lastAnswer : 0);
      console.log(
        `report ${JSON.stringify({
          sent: sentAt.length,
          lost,
          reordered,
          duplicated,
          refused,
          windows,
          longestLossMs: Math.max(0, ...windows.map(({lengthMs}) => lengthMs)),
          tcp: {sent: tcpSent, answered: tcpAnswered, longestStallMs, closed: tcpClosed ?? null},
        })}`,
      );
      process.exit();
    });
  });
}
