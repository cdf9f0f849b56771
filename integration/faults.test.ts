import type {ExecutionContext} from 'ava';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {findLeft, staysByDesign, takeSnapshot, type Snapshot} from './harness/snapshot.ts';
import {
  hasHit,
  injecting,
  isKilled,
  parseTrace,
  tracing,
  type Fault,
  type TracedCall,
} from './harness/strace.ts';

const test = testWith('root');
const conf = bridgeNetwork({name: 'faults', cniVersion: '1.1.0', macspoofchk: true});
const quiet = {log: () => {}, timeoutMs: 20_000};
const allowed = [...staysByDesign, /^file \/run\/(weft\/|xtables.lock|trace|injected)/];

/** Which system calls each kind of object is made with: a fault must have hit every one of them. */
const kinds: Readonly<Record<string, RegExp>> = {
  'a netlink request': /^send(to|msg) .*NETLINK|^send(to|msg) /,
  'a reservation': /^(openat|link|linkat|rename|renameat2) .*10\.61\.0\.2|^(openat|linkat|rename) .*faults/,
  'a lock': /^flock /,
  'a namespace': /^setns /,
  'a setting': /^(openat|write) .*\/proc\/sys/,
  'the result': /^write 1</,
};

type Verb = 'ADD' | 'DEL';

async function trace(host: TestHost, netns: string, verb: Verb): Promise<TracedCall[]> {
  const call = {conf, netns, containerId: 'traced', options: quiet};
  const under = (each: Verb) => (each === verb ? {under: tracing('/run/trace')} : {});
  await callPlugin(host, {...call, command: 'ADD', ...under('ADD')});
  await callPlugin(host, {...call, command: 'DEL', ...under('DEL')});
  await pristine(host);
  return parseTrace(await host.read('/run/trace'));
}

/** As before the first container: no bridge, no rules, no reservations. */
async function pristine(host: TestHost): Promise<void> {
  await host.sh(
    'ip link del cni0 2>/dev/null || true; nft flush ruleset; rm -rf /var/lib/cni/* /run/weft',
    quiet,
  );
}

interface Injection {
  readonly host: TestHost;
  readonly netns: string;
  readonly before: Snapshot;
  readonly verb: Verb;
  readonly call: TracedCall;
  readonly fault: Fault;
  readonly cleanUp: 'DEL' | 'GC';
}

interface Injected {
  /** A call that is made by chance, as when threads wake each other, may not have come. */
  readonly isHit: boolean;
  /** What was not as it should be, each with the place of the fault. */
  readonly problems: readonly string[];
}

/**
 * One ADD, or the DEL after an ADD, with one fault; then DEL, or GC with nothing in use, must leave nothing; the next
 * ADD, tried after every third, must succeed.
 */
async function inject({host, netns, before, verb, call, fault, cleanUp}: Injection): Promise<Injected> {
  const problems: string[] = [];
  const where = `${fault} in ${verb} at ${call.name} ${call.nth} (${call.text.slice(0, 100)}), then ${cleanUp}`;
  const plugin = {conf, netns, containerId: 'hit', options: quiet};
  const under = injecting(call, fault, '/run/injected');
  if (verb === 'DEL') await callPlugin(host, {...plugin, command: 'ADD'});
  const hit = await tryPlugin(host, {...plugin, command: verb, under});
  const isHit = fault === 'KILL' ? isKilled(hit) : hasHit(await host.read('/run/injected'));
  if (isHit && fault !== 'KILL' && hit.code !== 0 && hit.stdout !== '' && typeof hit.reply?.code !== 'number')
    problems.push(`no error in JSON: ${hit.stdout}${hit.stderr}`);
  const cleaned = await tryPlugin(host, {
    ...plugin,
    command: cleanUp,
    ...(cleanUp === 'GC' ? {attachments: []} : {}),
  });
  if (cleaned.code !== 0) problems.push(`${cleanUp} failed: ${cleaned.stdout}`);
  // Where unlinking the draft of a reservation is what failed, the next call that reads the directory removes it.
  const draft = call.name === 'unlink' ? [/^file \S+\/\.weft-new$/] : [];
  const left = await findLeft(host, before, [...allowed, ...draft]);
  problems.push(...left.map((line) => `left: ${line}`));
  const links = await host.run(host.inNetns('pod', ['ip', '-o', 'link']), quiet);
  if (links.stdout.includes('eth0')) problems.push('left: eth0 in the container');
  if (call.nth % 3 === 0) {
    const next = await tryPlugin(host, {...plugin, command: 'ADD'});
    if (next.code !== 0) problems.push(`the next ADD failed: ${next.stdout}`);
    await callPlugin(host, {...plugin, command: 'DEL'});
  }
  await pristine(host);
  return {isHit, problems: problems.map((problem) => `${where}: ${problem}`)};
}

interface Wanted {
  readonly verb?: Verb;
  readonly fault: Fault;
  readonly only?: (call: TracedCall) => boolean;
}

async function injectAll(t: ExecutionContext, {verb = 'ADD', fault, only = () => true}: Wanted) {
  const host = await makeHost(t);
  const netns = await host.addNetns('pod');
  const before = await takeSnapshot(host);
  const calls = await trace(host, netns, verb);
  const lines = calls.map(({name, text}) => `${name} ${text}`);
  for (const [kind, pattern] of Object.entries(verb === 'ADD' ? kinds : {}))
    t.true(
      lines.some((line) => pattern.test(line)),
      `an ADD must touch ${kind}`,
    );
  const chosen = calls.filter(only);
  t.true(chosen.length > 10);
  t.log(`${chosen.length} system calls`);
  const problems: string[] = [];
  const missed: string[] = [];
  for (const [index, call] of chosen.entries()) {
    const cleanUp = index % 2 === 0 ? 'DEL' : 'GC';
    const injected = await inject({host, netns, before, verb, call, fault, cleanUp});
    problems.push(...injected.problems);
    if (!injected.isHit) missed.push(`${call.name} ${call.nth} (${call.text.slice(0, 100)})`);
  }
  t.deepEqual(problems, []);
  // The call that was traced may have had something to do that the others had not.
  t.true(missed.length < chosen.length * 0.5, ['were not hit:', ...missed].join('\n'));
}

test('what an ADD leaves that was killed at any system call, DEL or GC removes', async (t) => {
  t.timeout(300_000);
  await injectAll(t, {fault: 'KILL'});
});

test('what a DEL leaves that was killed at any system call, the next DEL or GC removes', async (t) => {
  t.timeout(300_000);
  await injectAll(t, {verb: 'DEL', fault: 'KILL'});
});

test('an input/output error at any system call of an ADD leaves nothing', async (t) => {
  t.timeout(300_000);
  await injectAll(t, {fault: 'EIO'});
});

test('a full disk at any system call of an ADD leaves nothing', async (t) => {
  t.timeout(300_000);
  await injectAll(t, {fault: 'ENOSPC', only: ({name}) => !/^(send|setns|flock)/.test(name)});
});
