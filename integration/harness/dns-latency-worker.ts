import dgram from 'node:dgram';
import {once} from 'node:events';
import packet from 'dns-packet';

/* `node dns-latency-worker.ts SERVER SUFFIX COUNT` asks for web-0SUFFIX … one after the other; prints microseconds, as a list. */

const [server = '', suffix = '', count = '1'] = process.argv.slice(2);
const socket = dgram.createSocket('udp4');
socket.connect(53, server);
await once(socket, 'connect');
const questions = Array.from({length: Number(count)}, (_, i) =>
  packet.encode({
    type: 'query',
    id: i,
    flags: packet.RECURSION_DESIRED,
    questions: [{name: `web-${i}${suffix}`, type: 'A', class: 'IN'}],
  }),
);
const deadline = Date.now() + 20_000;

// Until the server is there, and this process is warm.
for (let warm = 0; warm < 300 && Date.now() < deadline;) {
  const reply = await ask(questions[warm % questions.length]!, 100).catch(() => undefined);
  if (reply !== undefined) warm++;
}
const times: number[] = [];
for (const question of questions) {
  const before = process.hrtime.bigint();
  const reply = await ask(question, 2000);
  times.push(Number(process.hrtime.bigint() - before) / 1000);
  if ((reply[3]! & 0xf) !== 0) throw new Error(`answered with code ${reply[3]! & 0xf}`);
}
socket.close();
console.log(JSON.stringify(times));

async function ask(question: Buffer, patienceMs: number): Promise<Buffer> {
  const {promise, resolve, reject} = Promise.withResolvers<Buffer>();
  const timer = setTimeout(() => reject(new Error('no answer')), patienceMs);
  const failed = () => reject(new Error('refused'));
  socket.once('message', resolve);
  socket.once('error', failed);
  socket.send(question);
  try {
    return await promise;
  } catch (error) {
    // Not faster than a server starts.
    await new Promise((go) => setTimeout(go, 50));
    throw error;
  } finally {
    clearTimeout(timer);
    socket.off('message', resolve);
    socket.off('error', failed);
  }
}
