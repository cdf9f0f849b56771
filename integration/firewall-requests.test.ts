import type {FirewallRun} from './in-process/firewall-driver.ts';
import {firewall, guard, prepare} from './harness/firewall.ts';
import type {Guarded} from './harness/firewall.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';

const test = testWith('root', 'apt');

async function drive(host: TestHost, {call}: Guarded, ...args: string[]): Promise<FirewallRun[]> {
  const script = `${repository}/integration/in-process/firewall-driver.ts`;
  const {stdout} = await host.run([process.execPath, '--no-warnings', script, ...args], {
    stdin: JSON.stringify({...call.conf, prevResult: call.prevResult}),
    timeoutMs: 240_000,
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as FirewallRun);
}

const failsEach = test.macro(async (t, verb: 'ADD' | 'DEL') => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...firewall, ingressPolicy: 'isolated'});
  const runs = await drive(host, pod, 'fail', verb);
  let failed = 0;
  for (const {loss, start, failing, what, code, stdout, again, left} of runs) {
    const where = `${verb} from ${start}, ${loss} ${failing} lost (${what ?? 'none'})`;
    t.deepEqual(left, [], where);
    if (again) t.is(again.code, 0, `${where}: ${again.stdout}`);
    if (code === 0) continue;
    failed++;
    t.regex((JSON.parse(stdout) as {msg: string}).msg, /injected/, where);
  }
  t.true(failed >= runs.length / 2, `${failed} of ${runs.length} failed`);
  t.is(runs.at(-1)?.code, 0);
  t.log(`${runs.length} runs, ${failed} failed as they should`);
});

test('whichever netlink request of an ADD fails, the ADD takes back what it did', failsEach, 'ADD');
test('whichever netlink request of a DEL fails, the next DEL removes the rest', failsEach, 'DEL');

test('a call asks as little with 2,000 containers as with none, and one ADD is one transaction', async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  await host.sh('iptables -P FORWARD DROP; ip6tables -P FORWARD DROP');
  const pod = await prepare(host, 'pod', {...firewall, ingressPolicy: 'same-bridge'});
  // On a warm host the bridge has a container already.
  await guard(host, 'before', pod.call.conf);
  const few = await drive(host, pod, 'count');
  const elements = Array.from(
    {length: 2000},
    (_, i) => `10.200.${i >> 8}.${i & 255} comment "other ${i}" : goto admit-0x1000`,
  );
  await host.run(['nft', '-f', '-'], {
    stdin: `add element inet weft-firewall containers4 { ${elements.join(', ')} }\n`,
  });
  const many = await drive(host, pod, 'count');
  t.deepEqual(
    many.map(({verb, code, requests}) => ({verb, code, requests})),
    few.map(({verb, requests}) => ({verb, code: 0, requests})),
  );
  const [add] = many;
  const transactions = add!.requests.filter((what) => what.startsWith('nftables transaction'));
  t.is(transactions.length, 1, transactions.join('\n'));
  t.is(transactions[0]!.match(/(add|create) element/g)?.length, 6, transactions[0]);
  for (const {verb, requests} of many) t.log(verb, requests.length);
});
