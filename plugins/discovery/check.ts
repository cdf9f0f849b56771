import {createSocket} from 'node:dgram';
import type {Call} from '../../lib/cni/plugin.ts';
import {findDiscovered} from '../../lib/discovery/attachment-file.ts';
import type {Host} from '../../lib/host.ts';
import {parseIp, ipBytes} from '../../lib/ip/address.ts';
import {describeAttachment, requireAddresses} from './attachment.ts';
import {parseDiscoveryConf} from './conf.ts';

const dnsPort = 53;
const patienceMs = 1000;

/** Compares the file with what an ADD would write, and asks the server for the name, as the container would. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parseDiscoveryConf(call);
  const wanted = await describeAttachment(host, conf, requireAddresses(call));
  const found = findDiscovered(conf.stateDir, conf.owner);
  if (found === undefined) throw new Error(`the names of the container are gone from ${conf.stateDir}`);
  const differing = (['names', 'ips', 'domain'] as const).filter(
    (key) => JSON.stringify(found[key]) !== JSON.stringify(wanted[key]),
  );
  if (differing.length > 0) {
    const [key] = differing as [(typeof differing)[number]];
    throw new Error(
      `the container's ${key} are ${JSON.stringify(wanted[key])}, its names' file says ${JSON.stringify(found[key])}`,
    );
  }
  const [name] = wanted.names;
  const [server] = wanted.listen;
  if (name === undefined || server === undefined) return;
  for (const ip of wanted.ips) await checkAnswer(server, `${name}.${wanted.domain}`, ip);
}

async function checkAnswer(server: string, name: string, ip: string): Promise<void> {
  const answer = await ask(server, name, ip.includes(':') ? 28 : 1);
  if (answer === undefined) throw new Error(`the server ${server} does not answer; is the agent running?`);
  // The address stands in the answer as it is: no need to take the message apart.
  if (!answer.includes(ipBytes(parseIp(ip)!)))
    throw new Error(`${server} does not say that ${name} is ${ip}`);
}

/** Asks one question over UDP; undefined when no answer comes. */
function ask(server: string, name: string, type: number): Promise<Buffer | undefined> {
  const {promise, resolve} = Promise.withResolvers<Buffer | undefined>();
  const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
  const finish = (answer: Buffer | undefined) => {
    clearTimeout(timer);
    socket.close();
    resolve(answer);
  };
  const timer = setTimeout(() => finish(undefined), patienceMs);
  socket.once('message', finish);
  socket.once('error', () => finish(undefined));
  socket.send(formatQuestion(name, type), dnsPort, server);
  return promise;
}

/** RFC 1035, 4.1: a header with "recursion desired" and one question. */
function formatQuestion(name: string, type: number): Buffer {
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([
    Buffer.from('000001000001000000000000', 'hex'),
    ...labels,
    Buffer.from([0, 0, type, 0, 1]),
  ]);
}
