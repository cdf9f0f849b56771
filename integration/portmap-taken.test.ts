import type {DriverCall, DriverOutcome} from './in-process/portmap-driver.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {repository} from './harness/paths.ts';
import {portmapConf, type PortMapping} from './harness/ports.ts';

// A port that another container has: for all addresses of the host, for one, by either backend.

const test = testWith('root', 'apt');

const web = {hostPort: 8080, containerPort: 80, protocol: 'tcp'} as const;
const at = (hostIP: string) => ({...web, hostIP});

const driver = `${repository}/integration/in-process/portmap-driver.ts`;
async function drive(host: TestHost, ...calls: DriverCall[]): Promise<DriverOutcome[]> {
  const {stdout} = await host.run([process.execPath, '--no-warnings', driver], {
    stdin: JSON.stringify(calls),
    timeoutMs: 60_000,
  });
  return JSON.parse(stdout) as DriverOutcome[];
}

/** A host with the bridge `cni0`, which stands for the host's end of every container that is alive. */
async function makeBridged(t: Parameters<typeof makeHost>[0]): Promise<TestHost> {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge; ip link set cni0 up; ip address add 10.61.0.1/16 dev cni0');
  return host;
}

interface Container {
  readonly last: number;
  readonly device?: string;
  readonly portmap?: Readonly<Record<string, unknown>>;
}

function callOf(
  command: 'ADD' | 'DEL' | 'CHECK',
  id: string,
  mappings: readonly PortMapping[],
  container: Container,
): DriverCall {
  const {last, device = 'cni0', portmap = {}} = container;
  const conf = portmapConf('ports', mappings, portmap);
  const prevResult = {
    cniVersion: '1.0.0',
    interfaces: [{name: device}, {name: 'eth0', sandbox: '/run/netns/none'}],
    ips: [
      {address: `10.61.${last >> 8}.${last & 255}/16`, interface: 1},
      {address: `2001:db8:61::${last.toString(16)}/64`, interface: 1},
    ],
  };
  return {command, containerId: id, conf: {...conf, prevResult}};
}

/** What an ADD said: empty when it succeeded. */
const refusal = ({code, stdout}: DriverOutcome) =>
  code === 0 ? '' : (JSON.parse(stdout) as {msg: string}).msg;

const taken = (where: string, id: string) =>
  `host port ${where} is already mapped to container "${id}" of network "ports" (eth0)`;

/** Elements and chains of mappings, without those of every host. */
const left = async (host: TestHost) =>
  (await host.run(['nft', 'list', 'table', 'inet', 'weft'])).stdout
    .split('\n')
    .filter((line) => /id: |portmap-(taken|by)/.test(line))
    .map((line) => line.trim());

test("a port of all addresses and the same port of one stand in each other's way, whichever was first", async (t) => {
  const host = await makeBridged(t);
  const [one, two, three] = [{last: 2}, {last: 3}, {last: 4}];
  const outcomes = await drive(
    host,
    callOf('ADD', 'one', [web], one),
    callOf('ADD', 'two', [at('127.0.0.1')], two),
    callOf('ADD', 'two', [at('2001:db8::1')], two),
    // Another protocol, and another port, are free.
    callOf(
      'ADD',
      'two',
      [
        {...at('127.0.0.1'), protocol: 'udp'},
        {...at('127.0.0.1'), hostPort: 8081},
      ],
      two,
    ),
    callOf('DEL', 'one', [web], one),
    callOf('ADD', 'two', [at('127.0.0.1')], two),
    callOf('ADD', 'three', [at('192.0.2.1')], three),
    callOf('ADD', 'four', [at('127.0.0.1')], {last: 5}),
    callOf('ADD', 'one', [web], one),
    // IPv6 has no such mapping.
    callOf('ADD', 'one', [at('::')], one),
    callOf('ADD', 'one', [at('0.0.0.0')], one),
    callOf('DEL', 'two', [], two),
    callOf('ADD', 'one', [web], one),
    callOf('DEL', 'three', [at('192.0.2.1')], three),
    callOf('ADD', 'one', [web], one),
    callOf('CHECK', 'one', [web], one),
  );
  // Where two hold it, either is named.
  const either = (text: string) => text.replace(/of (127\S+ .*"two"|192\S+ .*"three").*/, 'of one of two');
  t.deepEqual(
    outcomes.map(refusal).map((text, i) => (i === 8 || i === 10 ? either(text) : text)),
    [
      '',
      taken('8080/tcp', 'one'),
      taken('8080/tcp', 'one'),
      '',
      '',
      '',
      '',
      taken('8080/tcp of 127.0.0.1', 'two'),
      'host port 8080/tcp of one of two',
      '',
      'host port 8080/tcp of one of two',
      '',
      taken('8080/tcp of 192.0.2.1', 'three'),
      '',
      '',
      '',
    ],
  );
  await drive(host, callOf('DEL', 'one', [], one));
  t.deepEqual(await left(host), []);
});

test('who has a port of all addresses may have it of one as well, and keeps others from both', async (t) => {
  const host = await makeBridged(t);
  const mine = [{...at('127.0.0.1'), containerPort: 81}, web, at('192.0.2.1')];
  const [one, two] = [{last: 2}, {last: 3}];
  const outcomes = await drive(
    host,
    callOf('ADD', 'one', mine, one),
    callOf('CHECK', 'one', mine, one),
    callOf('ADD', 'one', mine, one),
    callOf('ADD', 'two', [at('192.0.2.2')], two),
    callOf('ADD', 'two', [at('192.0.2.1')], two),
    callOf('ADD', 'two', [web], two),
    callOf('DEL', 'one', mine, one),
  );
  t.deepEqual(outcomes.map(refusal), [
    '',
    '',
    '',
    taken('8080/tcp', 'one'),
    taken('8080/tcp of 192.0.2.1', 'one'),
    taken('8080/tcp', 'one'),
    '',
  ]);
  t.deepEqual(await left(host), []);
  // One after the other comes to the same.
  const later = await drive(
    host,
    callOf('ADD', 'one', [at('127.0.0.1')], one),
    callOf('ADD', 'one', [web], one),
    callOf('ADD', 'two', [at('192.0.2.2')], two),
    callOf('DEL', 'one', [], one),
    callOf('ADD', 'one', [web], one),
    callOf('ADD', 'one', [at('127.0.0.1')], one),
    callOf('DEL', 'one', [], one),
  );
  t.deepEqual(later.map(refusal), ['', '', taken('8080/tcp', 'one'), '', '', '', '']);
  t.deepEqual(await left(host), []);
});

test('what a container that is gone holds of a port is removed by the next one that wants it', async (t) => {
  const host = await makeBridged(t);
  await host.sh('ip link add vethgone type dummy || ip link add vethgone type bridge');
  const [gone, heir] = [{last: 2, device: 'vethgone'}, {last: 3}];
  const several = [at('127.0.0.1'), at('192.0.2.1')];
  const before = await drive(
    host,
    callOf('ADD', 'gone', several, gone),
    callOf('ADD', 'heir', [web], heir),
    callOf('ADD', 'wild', [{...web, hostPort: 9090}], {...gone, last: 5}),
  );
  const [, refused = ''] = before.map(refusal);
  t.regex(
    refused,
    /^host port 8080\/tcp of (127\.0\.0\.1|192\.0\.2\.1) is already mapped to container "gone"/,
  );
  await host.sh('ip link del vethgone');
  const after = await drive(
    host,
    callOf('ADD', 'heir', [web], heir),
    callOf('ADD', 'third', [{...at('127.0.0.1'), hostPort: 9090}], {last: 4}),
  );
  t.deepEqual(after.map(refusal), ['', '']);
  const text = (await left(host)).filter((line) => !line.includes('ports: '));
  t.notRegex(text.join('\n'), /id: gone|id: wild" : (10\.|\S+ \S+ports4)/);
  await drive(
    host,
    callOf('DEL', 'heir', [], heir),
    callOf('DEL', 'third', [], {last: 4}),
    callOf('DEL', 'gone', [], gone),
    callOf('DEL', 'wild', [], gone),
  );
  t.deepEqual(await left(host), []);
});

test('an address that is ours now counts as well, and the command of the error frees the port', async (t) => {
  const host = await makeBridged(t);
  const [first] = await drive(
    host,
    callOf('ADD', 'old', [at('127.0.0.1')], {last: 2}),
    callOf('ADD', 'same', [web], {last: 2}),
  );
  t.is(refusal(first!), '');
  t.notRegex((await left(host)).filter((line) => !line.includes('ports: ')).join('\n'), /id: old/);
  await drive(host, callOf('DEL', 'old', [], {last: 2}));
  for (const [one, two] of [
    [[at('192.0.2.1')], [{...web, hostIP: '0.0.0.0'}]],
    [[{...web, hostPort: 8081}], [{...at('192.0.2.1'), hostPort: 8081}]],
  ] as const) {
    const port = two[0]?.hostPort;
    await drive(host, callOf('DEL', 'same', [], {last: 2}), callOf('ADD', 'one', one, {last: 3}));
    const [refused] = await drive(host, callOf('ADD', 'two', two, {last: 4}));
    const {details = ''} = JSON.parse(refused?.stdout ?? '') as {details?: string};
    const command = /nft "delete element .*"/.exec(details)?.[0] ?? 'false';
    await host.sh(command);
    const [added] = await drive(host, callOf('ADD', 'two', two, {last: 4}));
    t.is(refusal(added!), '', `${port} after ${command}`);
    await drive(host, callOf('DEL', 'one', [], {last: 3}), callOf('DEL', 'two', [], {last: 4}));
  }
  t.deepEqual(await left(host), []);
});

test('GC removes the claims of containers that are gone, and marks that nothing claims', async (t) => {
  const host = await makeBridged(t);
  await drive(
    host,
    callOf('ADD', 'kept', [at('192.0.2.1')], {last: 2}),
    callOf('ADD', 'stale', [at('192.0.2.2'), {...at('192.0.2.2'), hostPort: 9090}], {last: 3}),
  );
  const gc = (...ids: string[]): DriverCall => ({
    command: 'GC',
    containerId: '',
    conf: {
      ...portmapConf('ports', []),
      cniVersion: '1.1.0',
      'cni.dev/valid-attachments': ids.map((containerID) => ({containerID, ifname: 'eth0'})),
    },
  });
  await drive(host, gc('kept'));
  const text = (await left(host)).join('\n');
  t.notRegex(text, /stale|9090/);
  t.regex(text, /tcp \. 8080 : jump portmap-taken4-tcp-8080/);
  await host.sh('nft flush map inet weft portmap-host-claims4');
  await drive(host, gc());
  t.deepEqual(await left(host), []);
});

test('the cost of a mapping for one address does not grow', async (t) => {
  const host = await makeBridged(t);
  const many = Array.from({length: 1000}, (_, i) => ({
    ...at(`192.0.${2 + (i >> 7)}.${i & 127}`),
    hostPort: 8080 + (i & 1),
  }));
  const life = (last: number) => [
    callOf('ADD', `c${last}`, [at('127.0.0.1')], {last}),
    callOf('DEL', `c${last}`, [at('127.0.0.1')], {last}),
  ];
  const warm = (await drive(host, ...life(2), ...life(3))).slice(2);
  const [filling, ...filled] = await drive(
    host,
    callOf('ADD', 'many', many, {last: 9}),
    ...life(4),
    ...life(5),
  );
  t.is(refusal(filling!), '');
  for (const outcome of filled) t.is(refusal(outcome), '');
  const counts = (outcomes: readonly DriverOutcome[]) => outcomes.map(({requests}) => requests.length);
  t.deepEqual(counts(filled), [...counts(warm), ...counts(warm)]);
  t.is(
    warm[0]?.requests.filter((what) => what.startsWith('nftables transaction')).length,
    1,
    warm[0]?.requests.join('\n'),
  );
  const [removed] = await drive(host, callOf('DEL', 'many', [], {last: 9}));
  t.is(refusal(removed!), '');
  t.deepEqual(await left(host), []);
});

test('many at once for one port: of those that exclude each other one wins, and nothing stays', async (t) => {
  t.timeout(240_000);
  const host = await makeBridged(t);
  const racers = Array.from({length: 8}, (_, i) => {
    const mappings = i < 4 ? [web] : [at(`192.0.2.${i}`)];
    return {id: `c${i}`, mappings, container: {last: 10 + i}};
  });
  for (let round = 0; round < 3; round++) {
    const outcomes = await Promise.all(
      racers.map(
        async ({id, mappings, container}) => (await drive(host, callOf('ADD', id, mappings, container)))[0]!,
      ),
    );
    const winners = racers.filter((_, i) => refusal(outcomes[i]!) === '').map(({id}) => id);
    const kinds = new Set(winners.map((id) => Number(id.slice(1)) < 4));
    t.is(kinds.size, 1, winners.join());
    t.true(kinds.has(false) || winners.length === 1, winners.join());
    t.true(winners.length === 1 || winners.length === 4, winners.join());
    await Promise.all(
      racers.map(({id, mappings, container}, i) =>
        drive(host, callOf('DEL', id, i % 2 === 0 ? mappings : [], container)),
      ),
    );
    t.deepEqual(await left(host), []);
  }
});

for (const variant of ['nft', 'legacy'])
  test(`a port is refused whichever backend either container uses: iptables-${variant}`, async (t) => {
    const host = await makeBridged(t);
    await host.sh(`mkdir /run/tools; for tool in iptables ip6tables; do for verb in '' -save -restore; do
      ln -s $(command -v $tool-${variant}$verb) /run/tools/$tool$verb; done; done`);
    const drives = async (...calls: DriverCall[]) => {
      const {stdout} = await host.run([process.execPath, '--no-warnings', driver], {
        stdin: JSON.stringify(calls),
        env: {PATH: '/run/tools:/usr/sbin:/usr/bin:/sbin:/bin'},
        timeoutMs: 60_000,
      });
      return (JSON.parse(stdout) as DriverOutcome[]).map(refusal);
    };
    const iptables = (last: number) => ({last, portmap: {backend: 'iptables'}});
    for (const [mine, others] of [
      [[web], [at('192.0.2.1')]],
      [[at('192.0.2.1')], [web]],
      [[web], [web]],
    ] as const) {
      const where = mine[0] === web ? '8080/tcp' : '8080/tcp of 192.0.2.1';
      for (const [first, second] of [
        [iptables(2), iptables(3)],
        [iptables(2), {last: 3}],
        [{last: 2}, iptables(3)],
      ] as const) {
        t.deepEqual(
          await drives(
            callOf('ADD', 'one', mine, first),
            callOf('ADD', 'one', mine, first),
            callOf('CHECK', 'one', mine, first),
            callOf('ADD', 'two', others, second),
            callOf('CHECK', 'one', mine, first),
            callOf('DEL', 'one', mine, first),
            callOf('ADD', 'two', others, second),
            callOf('DEL', 'two', [], second),
          ),
          ['', '', '', taken(where, 'one'), '', '', '', ''],
        );
        const rules = (await host.sh(`iptables-${variant}-save -t nat; ip6tables-${variant}-save -t nat`))
          .stdout;
        t.notRegex(rules, /8080/);
        t.deepEqual(
          (await left(host)).filter((line) => !line.startsWith('chain portmap-by-iptables')),
          [],
        );
      }
    }
    // What it makes for that is looked at by no packet.
    await drives(callOf('ADD', 'one', [web], iptables(2)));
    const {stdout} = await host.run(['nft', 'list', 'table', 'inet', 'weft']);
    t.regex(stdout, /tcp \. 8080 comment "[^"]*id: one" : jump portmap-by-iptables/);
    await drives(callOf('DEL', 'one', [], iptables(2)));
  });

test('what an older release mapped for one address is checked and removed', async (t) => {
  const host = await makeBridged(t);
  const old = {last: 2};
  await drive(host, callOf('ADD', 'old', [at('192.0.2.1')], old));
  await host.sh(`nft 'flush map inet weft portmap-host-claims4
    delete element inet weft portmap-ports4 { tcp . 8080 }
    delete chain inet weft portmap-taken4-tcp-8080
    delete map inet weft portmap-host-claims4; delete map inet weft portmap-host-claims6'`);
  const outcomes = await drive(
    host,
    callOf('CHECK', 'old', [at('192.0.2.1')], old),
    callOf('ADD', 'new', [at('192.0.2.1')], {last: 3}),
    callOf('ADD', 'new', [at('192.0.2.2')], {last: 3}),
    callOf('DEL', 'old', [at('192.0.2.1')], old),
    callOf('DEL', 'new', [at('192.0.2.2')], {last: 3}),
  );
  t.deepEqual(outcomes.map(refusal), ['', taken('8080/tcp of 192.0.2.1', 'old'), '', '', '']);
  t.deepEqual(await left(host), []);
});
