import {setTimeout as sleep} from 'node:timers/promises';
import {pathToFileURL} from 'node:url';
import {makeRandom, type Random} from './random.ts';
import {callWarm, encodeFrame, encodeRequest, openWarm, type WarmCall} from './warm-client.ts';

/** What a worker prints at its end, as JSON. */
export interface AgentFuzzReport {
  /** How the agent answered: frame types by their number, or `end` for a connection that it closed. */
  readonly answers: Readonly<Record<string, number>>;
  /** Right calls in between that did not get their answer. */
  readonly problems: readonly string[];
}

const verbs = ['VERSION', 'STATUS', 'CHECK', 'DEL', 'GC', 'NONSENSE', ''];

function makeCall(random: Random, base: Pick<WarmCall, 'socket' | 'release'>): WarmCall {
  return {
    ...base,
    name: random.oneIn(20) ? random.pick(['', 'weft', '../bridge', 'bridge\0', 'x'.repeat(300)]) : 'loopback',
    env: {
      CNI_COMMAND: random.pick(verbs),
      CNI_CONTAINERID: 'fuzz',
      CNI_IFNAME: 'lo',
      CNI_PATH: '/nonexistent',
      ...(random.oneIn(3) && {
        CNI_NETNS: random.pick(['/run/netns/pod', '/proc/self/ns/net', '/etc/hosts', 'x']),
      }),
      ...(random.oneIn(10) && {BIG: 'x'.repeat(random.below(200_000))}),
    },
    stdin: random.pick([
      '{"cniVersion":"1.1.0","name":"n","type":"loopback"}',
      '',
      '{',
      'x'.repeat(random.below(100_000)),
    ]),
    ...(random.oneIn(20) && {version: random.below(4)}),
    ...(random.oneIn(20) && {pid: random.below(100)}),
    ...(random.oneIn(20) && {fd: random.below(40) - 5}),
    ...(random.oneIn(20) && {umask: random.below(0o1000)}),
    ...(random.oneIn(20) && {cwd: random.pick(['', 'relative', '/nonexistent', '/usr'])}),
    ...(random.oneIn(20) && {namespaces: {mnt: BigInt(random.below(1000))}}),
  };
}

/** One connection that says something more or less right, and hears what the agent says first and last. */
async function converse(random: Random, base: Pick<WarmCall, 'socket' | 'release'>): Promise<string> {
  const {payload, close} = encodeRequest(makeCall(random, base));
  const connection = await openWarm(base.socket);
  const {socket} = connection;
  try {
    let bytes = encodeFrame(random.oneIn(30) ? random.below(8) : 1, payload);
    if (random.oneIn(3))
      for (let flips = 1 + random.below(4); flips > 0; flips--)
        bytes[random.below(Math.min(bytes.length, 400))]! ^= 1 << random.below(8);
    if (random.oneIn(5)) bytes = bytes.subarray(0, random.below(bytes.length));
    for (let at = 0; at < bytes.length;) {
      const end = random.oneIn(2) ? bytes.length : at + 1 + random.below(bytes.length);
      socket.write(bytes.subarray(at, end));
      at = end;
      if (random.oneIn(10)) await sleep(1);
    }
    if (random.oneIn(10)) return 'left';
    // Or the agent waits for more.
    if (random.oneIn(2))
      socket.write(
        encodeFrame(random.oneIn(5) ? random.below(300) : 3, Buffer.alloc(random.oneIn(9) ? 7 : 0)),
      );
    if (random.oneIn(2)) socket.end();
    const answer = await Promise.race([connection.next(), sleep(300).then(() => undefined)]);
    if (answer === undefined) return 'waits';
    if (answer.type !== 2) return String(answer.type);
    if (random.oneIn(10)) return 'left when ready';
    socket.write(encodeFrame(3));
    return `ready, ${await connection.next().then(
      ({type}) => type,
      () => 'end',
    )}`;
  } catch {
    return 'end';
  } finally {
    close();
    socket.destroy();
  }
}

async function run([seed = '', count = '', socket = '', release = '']: readonly string[]): Promise<void> {
  const answers: Record<string, number> = {};
  const problems: string[] = [];
  const base = {socket, release};
  const width = 60;
  for (let done = 0; done < Number(count); done += width) {
    const outcomes = await Promise.all(
      Array.from({length: width}, (_, i) => converse(makeRandom(Number(seed) + done + i), base)),
    );
    for (const outcome of outcomes) answers[outcome] = (answers[outcome] ?? 0) + 1;
    const {code, stdout} = await callWarm({
      ...base,
      name: 'loopback',
      env: {CNI_COMMAND: 'VERSION'},
      stdin: '',
    });
    if (code !== 0 || !stdout.includes('supportedVersions'))
      problems.push(`after case ${done + width}: ${stdout}`);
  }
  console.log(JSON.stringify({answers, problems} satisfies AgentFuzzReport));
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await run(process.argv.slice(2));
