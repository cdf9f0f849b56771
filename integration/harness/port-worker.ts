import dgram from 'node:dgram';
import net from 'node:net';

/*
 * Run inside a namespace. `node port-worker.ts serve NAME PORT…` answers on these TCP and UDP ports, over IPv4 and IPv6, with
 * "NAME sees ADDRESS". `node port-worker.ts ask JSON` asks each of a list of {protocol, address, port, source?} and prints the answers, as a
 * list; an error's code where there is none.
 */

interface Question {
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** The client's own address and port. */
  readonly source?: string;
  readonly sourcePort?: number;
}

const [verb, first = '', ...rest] = process.argv.slice(2);
// Beside other tests a process may have to wait for a processor.
const patienceMs = 6000;
const askAgainMs = 1500;

if (verb === 'serve') await serve(first, rest.map(Number));
else console.log(JSON.stringify(await Promise.all((JSON.parse(first) as Question[]).map(ask))));

async function serve(name: string, ports: readonly number[]): Promise<void> {
  const say = (address = '') => `${name} sees ${address.replace(/^::ffff:/, '')}`;
  for (const port of ports) {
    await new Promise<void>((resolve) => {
      net
        .createServer((socket) => {
          socket.on('error', () => {});
          socket.end(say(socket.remoteAddress));
        })
        .listen(port, '::', resolve);
    });
    const udp = dgram.createSocket('udp6');
    udp.on('message', (_, {address, port: to}) => udp.send(say(address), to, address));
    await new Promise<void>((resolve) => {
      udp.bind(port, '::', resolve);
    });
  }
  console.log('ready');
}

function ask({protocol, ...question}: Question): Promise<string> {
  return protocol === 'tcp' ? askTcp(question) : askUdp(question);
}

function askTcp({address, port, source}: Omit<Question, 'protocol'>): Promise<string> {
  const {promise, resolve} = Promise.withResolvers<string>();
  const socket = net.connect({host: address, port, ...(source !== undefined && {localAddress: source})});
  let answer = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
  socket.setTimeout(patienceMs, () => {
    resolve('ETIMEDOUT');
    socket.destroy();
  });
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  socket.on('close', () => resolve(answer));
  return promise;
}

function askUdp({address, port, source, sourcePort}: Omit<Question, 'protocol'>): Promise<string> {
  const {promise, resolve} = Promise.withResolvers<string>();
  const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
  const timer = setTimeout(() => resolve('ETIMEDOUT'), patienceMs);
  let again: NodeJS.Timeout | undefined;
  socket.on('message', (message) => resolve(message.toString()));
  socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
  socket.bind(sourcePort ?? 0, source, () => {
    socket.connect(port, address, () => {
      socket.send('who?');
      again = setInterval(() => socket.send('who?'), askAgainMs);
    });
  });
  return promise.finally(() => {
    clearTimeout(timer);
    clearInterval(again);
    socket.close();
  });
}
