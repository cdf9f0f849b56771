import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import type {Socket} from 'node:net';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {formatAnswer, formatFrame, frameTypes} from '../agent/cni/protocol.ts';
import {callEnv, compileForTests, makeTestClient, onFrames, startAgent} from './harness/client.ts';
import {runCommand} from './harness/command.ts';
import {testWith} from './harness/needs.ts';
import {chooseSeed, makeRandom, type Random} from './harness/random.ts';

// The native client, compiled with sanitizers, and agents that say anything.

const test = testWith('cc');
const asRoot = testWith('root', 'cc');
const seed = chooseSeed();
const conversations = 100_000;
const processes = 300;

test('100,000 conversations in one process come out as the bytes say', async (t) => {
  t.timeout(300_000);
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-fuzz-'));
  t.teardown(() => rmSync(folder, {recursive: true, force: true}));
  const program = path.join(folder, 'fuzz');
  const {isSanitized} = compileForTests(program, {source: 'client/fuzz.c', defines: []});
  const {code, stdout, stderr} = await runCommand([program, String(seed), String(conversations)], {
    env: {},
    mayFail: true,
    timeoutMs: 240_000,
  });
  t.is(code, 0, stdout + stderr);
  const counts = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' ').map(Number))
    .reduce((sum, batch) => sum.map((each, i) => each + batch[i]!));
  t.is(
    counts.reduce((sum, each) => sum + each),
    conversations,
  );
  t.log(`${counts.join(' / ')} refused, lost, answered; ${isSanitized ? 'with' : 'without'} sanitizers`);
  for (const each of counts) t.true(each > conversations / 50, 'every outcome must be seen');
});

const {request, ready} = frameTypes;

/** Says something odd before `ready`, instead of it, after it, or in pieces, or stops in the middle. */
function misbehave(connection: Socket, random: Random): void {
  const say = async (bytes: Buffer) => {
    for (let at = 0; at < bytes.length && !connection.destroyed;) {
      const end = at + 1 + random.below(bytes.length);
      connection.write(bytes.subarray(at, end));
      at = end;
      if (random.oneIn(3)) await sleep(random.below(20));
    }
    if (random.oneIn(2)) connection.end();
    // Else the client's patience is tried, or that of whoever waits for it.
    else setTimeout(() => connection.destroy(), 400).unref();
  };
  const spoil = (bytes: Buffer) => {
    const spoilt = Buffer.from(bytes);
    for (let flips = random.below(3); flips > 0; flips--)
      spoilt[random.below(spoilt.length)]! ^= 1 << random.below(8);
    return random.oneIn(3) ? spoilt.subarray(0, random.below(spoilt.length + 1)) : spoilt;
  };
  if (random.oneIn(10)) return void connection.destroy();
  if (random.oneIn(10)) return void say(spoil(formatFrame(ready)));
  const text = 'x'.repeat(random.oneIn(5) ? random.below(300_000) : random.below(100));
  const answer = formatAnswer({exitCode: random.below(3), stdout: text, stderr: text.slice(0, 1000)});
  onFrames(connection, (type) => {
    const isSpoilt = random.oneIn(6);
    if (type !== request) return void say(random.oneIn(2) ? spoil(answer) : answer);
    if (!isSpoilt) return void connection.write(formatFrame(ready));
    void say(spoil(formatFrame(ready)));
  });
}

asRoot(
  '300 processes with agents that say anything end in an answer, an error, or the plugin itself',
  async (t) => {
    t.timeout(300_000);
    t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
    const folder = mkdtempSync(path.join(tmpdir(), 'weft-fuzz-'));
    t.teardown(() => rmSync(folder, {recursive: true, force: true}));
    const program = path.join(folder, 'client');
    compileForTests(program, {source: 'client/weft-client.c', defines: ['WEFT_HOSTED']});
    const client = makeTestClient(t, {template: readFileSync(program)});
    let connections = 0;
    await startAgent(t, client.socket, (connection) =>
      misbehave(connection, makeRandom(seed + connections++)),
    );
    const outcomes = {standalone: 0, lost: 0, answered: 0};
    const conf = '{"cniVersion":"1.0.0"}';
    const one = async () => {
      const {code, stdout, stderr} = await runCommand([client.file], {
        env: callEnv,
        stdin: conf,
        mayFail: true,
      });
      t.notRegex(stderr, /Sanitizer|runtime error/);
      if (stdout === client.standalone(conf)) outcomes.standalone++;
      else if (!stdout.startsWith('{')) outcomes.answered++;
      else {
        t.like(JSON.parse(stdout), {cniVersion: '1.0.0', code: 11}, stdout);
        t.is(code, 1);
        outcomes.lost++;
      }
    };
    for (let done = 0; done < processes; done += 20) await Promise.all(Array.from({length: 20}, one));
    t.log(outcomes);
    for (const count of Object.values(outcomes)) t.true(count > 10, 'every outcome must be seen');
  },
);
