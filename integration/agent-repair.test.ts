import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn, type TestAgent} from './harness/agent.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {pluginDir} from './harness/paths.ts';
import {ask, serve} from './harness/ports.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

// What others remove of live containers the agent makes anew, and nothing of dead ones.

const test = testWith('root', 'apt');

const conflist = {
  cniVersion: '1.0.0',
  name: 'mended',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      isDefaultGateway: true,
      ipMasq: true,
      hairpinMode: true,
      macspoofchk: true,
      ipam: {type: 'host-local', ranges: [[{subnet: '10.61.0.0/24'}], [{subnet: '2001:db8:61::/64'}]]},
    },
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'firewall', ingressPolicy: 'same-bridge'},
  ],
};

const config = {repair: {delayMs: 50, intervalMs: 3000}};

interface Mended {
  readonly host: TestHost;
  readonly start: () => Promise<TestAgent>;
  /** Runs cnitool, which notes attachments as every runtime does. */
  readonly cnitool: (
    verb: 'add' | 'del' | 'check',
    name: string,
    hostPort?: number,
  ) => Promise<number | null>;
}

async function makeMended(t: ExecutionContext): Promise<Mended> {
  t.timeout(300_000);
  const host = await makeHost(t);
  await addOutside(host);
  await host.write('/etc/cni/net.d/10-mended.conflist', JSON.stringify(conflist));
  return {
    host,
    start: () => startAgentOn(host, {config}),
    async cnitool(verb, name, hostPort) {
      const mappings = [{hostPort, containerPort: 80, protocol: 'tcp'}];
      const {code} = await host.run([`${pluginDir}/cnitool`, verb, 'mended', `/run/netns/${name}`], {
        mayFail: true,
        timeoutMs: 60_000,
        env: {
          CNI_PATH: pluginDir,
          NETCONFPATH: '/etc/cni/net.d',
          ...(hostPort !== undefined && {CAP_ARGS: JSON.stringify({portMappings: mappings})}),
        },
      });
      return code;
    },
  };
}

/** Waits, under a deadline that a busy machine can meet, until it is so. */
async function eventually(t: ExecutionContext, what: string, isSo: () => Promise<boolean>): Promise<void> {
  const started = performance.now();
  while (!(await isSo())) {
    if (performance.now() - started > 60_000) return t.fail(`not within a minute: ${what}`);
    await sleep(50);
  }
  t.log(`${what}: after ${(performance.now() - started).toFixed(0)} ms`);
}

const isWhole = async ({cnitool}: Mended, name: string, port?: number) =>
  (await cnitool('check', name, port)) === 0;

/** Everything of nftables that names a container by its id in a comment, or by its port. */
const ruleset = async (host: TestHost) => (await host.run(['nft', 'list', 'ruleset'])).stdout;

const figure = async (agent: TestAgent, name: string) => {
  const {text} = await agent.get('/metrics');
  const values = [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\d+)$`, 'gm'))];
  return values.reduce((sum, [, value]) => sum + Number(value), 0);
};

test('what a flush took of a live container is there again: masquerade, ports, filters', async (t) => {
  const mended = await makeMended(t);
  const {host, cnitool, start} = mended;
  await host.addNetns('pod');
  t.is(await cnitool('add', 'pod', 8080), 0);
  const before = await ruleset(host);
  const agent = await start();
  await serve(host, 'pod', 'pod', 80);
  await serve(host, 'outside', 'outside', 80);
  const works = async () => {
    const answers = [
      ...(await ask(host, 'pod', {address: '192.0.2.2', port: 80}, {address: '2001:db8:2::2', port: 80})),
      ...(await ask(host, 'outside', {address: '192.0.2.1', port: 8080})),
    ];
    return answers.join() === 'outside sees 192.0.2.1,outside sees 2001:db8:2::1,pod sees 192.0.2.2';
  };
  t.true(await works());
  for (const removal of [
    'nft flush ruleset',
    'nft flush table inet weft',
    'nft delete table inet weft-firewall',
    'nft flush map inet weft masq-addresses4',
    'nft flush chain inet weft masq-postrouting',
    'nft flush map inet weft portmap-port-targets4',
    'nft flush chain inet weft-firewall forward; nft flush chain inet weft-firewall admin',
    'nft flush table bridge nat',
  ]) {
    await host.sh(removal);
    await eventually(t, removal, () => isWhole(mended, 'pod', 8080));
    t.true(await works(), removal);
  }
  const lines = (text: string) => text.split('\n').toSorted();
  t.deepEqual(lines(await ruleset(host)), lines(before));
  t.true((await figure(agent, 'weft_repair_restored_total')) >= 8);
  const status = JSON.parse((await agent.get('/status')).text) as {modules: {repair: object}};
  t.like(status.modules.repair, {attachments: 1, restored: 1});
  t.is((await agent.get('/readyz')).code, 200);
  t.is(await cnitool('del', 'pod', 8080), 0);
});

test('what the delegate of flannel made is made anew as well', async (t) => {
  const {host, start} = await makeMended(t);
  await host.addNetns('pod');
  await host.write(
    '/run/flannel/subnet.env',
    `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.7.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n`,
  );
  await host.write(
    '/etc/cni/net.d/20-flannel.conflist',
    JSON.stringify({
      cniVersion: '1.0.0',
      name: 'cbr0',
      plugins: [
        {type: 'flannel', delegate: {bridge: 'cni1', hairpinMode: true, isDefaultGateway: true}},
        {type: 'portmap', capabilities: {portMappings: true}},
      ],
    }),
  );
  const cnitool = (verb: string) =>
    host.run([`${pluginDir}/cnitool`, verb, 'cbr0', '/run/netns/pod'], {
      mayFail: true,
      env: {CNI_PATH: pluginDir, NETCONFPATH: '/etc/cni/net.d'},
    });
  t.is((await cnitool('add')).code, 0);
  t.is((await cnitool('check')).code, 0);
  await start();
  await host.sh('nft flush ruleset');
  await eventually(t, 'masqueraded', async () => (await cnitool('check')).code === 0);
  t.regex(await ruleset(host), /10\.244\.7\.2 comment "[^"]*cnitool/);
});

test('an agent that was not there when it happened finds out when it starts', async (t) => {
  const mended = await makeMended(t);
  const {host, cnitool, start} = mended;
  for (const name of ['one', 'two']) await host.addNetns(name);
  t.is(await cnitool('add', 'one', 8080), 0);
  const first = await start();
  t.is(await first.stop('KILL'), null);
  t.is(await cnitool('add', 'two', 8081), 0);
  await host.sh('nft flush ruleset');
  t.false(await isWhole(mended, 'one', 8080));
  await start();
  for (const [name, port] of [
    ['one', 8080],
    ['two', 8081],
  ] as const)
    await eventually(t, name, () => isWhole(mended, name, port));
});

test('what its predecessor made for a container that is gone since is taken back', async (t) => {
  const mended = await makeMended(t);
  const {host, cnitool, start} = mended;
  await host.addNetns('pod');
  t.is(await cnitool('add', 'pod', 8080), 0);
  const agent = await start();
  await host.sh('nft flush ruleset');
  await eventually(t, 'restored', () => isWhole(mended, 'pod', 8080));
  await agent.stop('KILL');
  // The end of a DEL whose first half came before the restoration.
  await host.sh('ip -n pod link del eth0; rm /var/lib/cni/results/*');
  t.regex(await ruleset(host), /id: cnitool-/);
  const next = await start();
  await eventually(t, 'taken back', async () => !/id: cnitool-/.test(await ruleset(host)));
  await eventually(t, 'counted', async () => (await figure(next, 'weft_repair_taken_back_total')) === 1);
  t.is((await host.sh('ls /run/weft/repair')).stdout, '');
});

test("an address or a port that is another container's by now stays with that", async (t) => {
  const mended = await makeMended(t);
  const {host, cnitool, start} = mended;
  await host.addNetns('pod');
  t.is(await cnitool('add', 'pod', 8080), 0);
  const agent = await start();
  const others = 'comment "0123456789abcdef-0123456789abcdef, net: other, if: eth0, id: other"';
  await host.run(['nft', '-f', '-'], {
    stdin: `delete element inet weft masq-addresses4 { 10.61.0.2 }
      add element inet weft masq-addresses4 { 10.61.0.2 ${others} : goto masq-except-10.61.0.0/24 }
      delete element inet weft portmap-ports4 { tcp . 8080 }
      add element inet weft portmap-ports4 { tcp . 8080 ${others} : accept }
      delete element inet weft masq-addresses6 { 2001:db8:61::2 }`,
  });
  await eventually(t, 'the other address', async () =>
    /2001:db8:61::2 comment "[^"]*cnitool/.test(await ruleset(host)),
  );
  const text = await ruleset(host);
  t.regex(text, /10\.61\.0\.2 comment "[^"]*id: other" : goto/);
  t.regex(text, /tcp \. 8080 comment "[^"]*id: other" : accept/);
  t.is(await figure(agent, 'weft_repair_failures_total'), 0);
});

test('DELs and ADDs while everything is flushed again and again: the dead leave nothing, the living work', async (t) => {
  const mended = await makeMended(t);
  const {host, cnitool, start} = mended;
  const before = await takeSnapshot(host);
  const agent = await start();
  const names = Array.from({length: 12}, (_, i) => `pod-${i}`);
  await host.addNetnses('pod', names.length);
  const portOf = (name: string) => 8000 + Number(name.slice(4));
  for (let at = 0; at < names.length; at += 4)
    await Promise.all(names.slice(at, at + 4).map((name) => cnitool('add', name, portOf(name))));
  const stop = `/run/stop-flushing`;
  const flushing = host.run(
    ['/bin/sh', '-c', `while [ ! -e ${stop} ]; do nft flush ruleset; sleep 0.03; done`],
    {timeoutMs: 240_000},
  );
  const [dying, living, renewed] = [names.slice(0, 5), names.slice(5, 8), names.slice(8)];
  const renew = async (name: string) => {
    for (let round = 0; round < 3; round++) {
      await cnitool('del', name, portOf(name));
      await cnitool('add', name, portOf(name));
    }
  };
  await Promise.all([
    ...renewed.map(renew),
    (async () => {
      for (const name of dying) t.is(await cnitool('del', name, portOf(name)), 0);
    })(),
  ]);
  await host.sh(`touch ${stop}`);
  await flushing;
  for (const name of [...living, ...renewed])
    await eventually(t, `${name} works`, () => isWhole(mended, name, portOf(name)));
  const ids = dying.map((name) => portOf(name));
  await eventually(t, 'the dead have left nothing', async () => {
    const text = await ruleset(host);
    return !ids.some((port) => text.includes(` ${port} `));
  });
  t.log(
    `made anew ${await figure(agent, 'weft_repair_restored_total')}, taken back ${await figure(agent, 'weft_repair_taken_back_total')}`,
  );
  for (const name of [...living, ...renewed]) t.is(await cnitool('del', name, portOf(name)), 0);
  for (const name of names) await host.removeNetns(name);
  await eventually(t, 'nothing is kept', async () => (await host.sh('ls /run/weft/repair')).stdout === '');
  await agent.stop();
  await assertNothingLeft(t, host, before, [
    /^nft (table|chain|set|map|rule) /,
    /^(address|link|route \S+ ) ?(cni0|uplink) /,
    /^file \/(run\/weft|var\/lib\/cni|etc\/weft|run\/stop)/,
    /^sysctl /,
  ]);
  const text = await ruleset(host);
  t.notRegex(text, /id: cnitool|10\.61\.0\.\d+ |tcp \. 80\d\d/);
});
