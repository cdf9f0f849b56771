import {firewall, guard, network, pingAll, prepare, saveFilter} from './harness/firewall.ts';
import type {Guarded} from './harness/firewall.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('reference');
});

// Debian's plugins speak up to 1.0.0.
const conf = {...firewall, cniVersion: '1.0.0'};
const bridge = {...network, cniVersion: '1.0.0'};
const long = 240_000;

/** A PATH on which "iptables" is one of its variants. */
async function toolsOf(
  host: TestHost,
  variant: 'nft' | 'legacy',
): Promise<{readonly env: {readonly PATH: string}}> {
  await host.sh(`
    mkdir -p /run/${variant}
    for tool in iptables ip6tables; do for end in "" -save -restore; do
      ln -sf "$(command -v $tool-${variant}$end)" /run/${variant}/$tool$end
    done; done
  `);
  return {env: {PATH: `/run/${variant}:/usr/sbin:/usr/bin:/sbin:/bin`}};
}

const rulesOf = (lines: readonly string[], ...addresses: string[]) =>
  lines.filter((line) => addresses.some((address) => line.includes(` ${address}/`)));

for (const variant of ['nft', 'legacy'] as const) {
  test(`the iptables backend makes what the reference makes, with iptables-${variant}`, async (t) => {
    t.timeout(long);
    const host = await makeHost(t);
    const options = await toolsOf(host, variant);
    const one = await prepare(host, 'one', conf, bridge);
    const two = await prepare(host, 'two', conf, bridge);
    for (const more of [{}, {ingressPolicy: 'same-bridge'}, {iptablesAdminChainName: 'MY-ADMIN'}]) {
      const withConf = ({call}: Guarded) => ({
        ...call,
        options,
        conf: {...conf, backend: 'iptables', ...more},
      });
      const [first, second] = [withConf(one), withConf(two)];
      const saved: string[] = [];
      for (const plugin of [{dir: referenceDir()}, {}]) {
        await host.sh(`
          for tool in iptables-${variant} ip6tables-${variant}; do
            $tool -F; for chain in CNI-FORWARD CNI-ADMIN MY-ADMIN CNI-ISOLATION-STAGE-1 CNI-ISOLATION-STAGE-2; do
              $tool -X $chain 2> /dev/null || true
            done
          done
        `);
        for (const call of [first, second, second])
          await callPlugin(host, {...call, ...plugin, command: 'ADD'});
        const made = await saveFilter(host, variant);
        // Each takes the other's for its own.
        await callPlugin(host, {...first, command: 'CHECK'});
        await callPlugin(host, {...first, dir: referenceDir(), command: 'CHECK'});
        await callPlugin(host, {...first, ...plugin, command: 'DEL'});
        const left = await saveFilter(host, variant);
        t.is(rulesOf(left, ...one.addresses).length, 0);
        t.is(rulesOf(left, ...two.addresses).length, 4);
        saved.push([...made, 'after DEL:', ...left].join('\n'));
      }
      t.is(saved[1], saved[0]);
    }
  });

  test(`what the reference made with iptables-${variant} is removed by ours`, async (t) => {
    t.timeout(long);
    const host = await makeHost(t);
    const outside = await addOutside(host);
    const options = await toolsOf(host, variant);
    await host.sh(`iptables-${variant} -P FORWARD DROP; ip6tables-${variant} -P FORWARD DROP`);
    const one = await prepare(host, 'one', conf, bridge);
    const two = await prepare(host, 'two', conf, bridge);
    for (const {call} of [one, two])
      await callPlugin(host, {...call, dir: referenceDir(), options, command: 'ADD'});
    t.deepEqual(await pingAll(host, 'one', outside.addresses), [true, true]);
    // It works: our CHECK is content until one of its rules is gone.
    await callPlugin(host, {...one.call, options, command: 'CHECK'});
    await host.sh(`iptables-${variant} -D CNI-FORWARD -s ${one.addresses[0]} -j ACCEPT`);
    const lacking = await tryPlugin(host, {...one.call, options, command: 'CHECK'});
    t.regex(lacking.reply?.msg ?? '', new RegExp(`^${one.addresses[0]} is not admitted`));
    const chosen = {...one.call, conf: {...conf, backend: 'nftables'}, options};
    t.is((await tryPlugin(host, {...chosen, command: 'CHECK'})).code, 1);
    await callPlugin(host, {...one.call, command: 'DEL'});
    await callPlugin(host, {...one.call, command: 'DEL'});
    const left = await saveFilter(host, variant);
    t.deepEqual(rulesOf(left, ...one.addresses), []);
    t.is(rulesOf(left, ...two.addresses).length, 4);
    t.deepEqual(await pingAll(host, 'two', outside.addresses), [true, true]);
    // A container of both: the address tells what is the reference's.
    await callPlugin(host, {...two.call, command: 'ADD'});
    const gc = {...two.call, conf: {...conf, cniVersion: '1.1.0'}, command: 'GC', attachments: []} as const;
    await callPlugin(host, gc);
    t.deepEqual(rulesOf(await saveFilter(host, variant), ...two.addresses), []);
  });
}

for (const variant of ['nft', 'legacy'] as const)
  test(`what an administrator drops in the reference's CNI-ADMIN stays dropped, with iptables-${variant}`, async (t) => {
    t.timeout(long);
    const host = await makeHost(t);
    const outside = await addOutside(host);
    const options = await toolsOf(host, variant);
    await host.sh(`iptables-${variant} -P FORWARD DROP; ip6tables-${variant} -P FORWARD DROP`);
    const one = await prepare(host, 'one', conf, bridge);
    await callPlugin(host, {...one.call, dir: referenceDir(), options, command: 'ADD'});
    await host.sh(`iptables-${variant} -A CNI-ADMIN -d ${outside.addresses[0]} -j DROP`);
    await guard(host, 'two', conf, bridge);
    t.deepEqual(await pingAll(host, 'one', outside.addresses), [false, true]);
    t.deepEqual(await pingAll(host, 'two', outside.addresses), [false, true]);
    t.deepEqual(
      (await saveFilter(host, variant))
        .filter((line) => line.startsWith('-A FORWARD'))
        .map((line) => line.slice(-14)),
      ['-j CNI-FORWARD', 'ers" -j ACCEPT', '-j CNI-FORWARD', 'ers" -j ACCEPT'],
    );
  });

test('a container of ours is removed by the reference, whose next one may have its address', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const {call, addresses} = await guard(host, 'pod', conf, bridge);
  await callPlugin(host, {...call, dir: referenceDir(), command: 'DEL'});
  const elements = async () =>
    (await host.run(['nft', 'list', 'map', 'inet', 'weft-firewall', 'containers4'])).stdout;
  t.true((await elements()).includes(addresses[0]!));
  const next = {...call, containerId: 'next'};
  await callPlugin(host, {...next, command: 'ADD'});
  await callPlugin(host, {...next, command: 'CHECK'});
  await callPlugin(host, {...next, dir: referenceDir(), command: 'DEL'});
  const gc = {...call, conf: {...conf, cniVersion: '1.1.0'}, command: 'GC', attachments: []} as const;
  await callPlugin(host, gc);
  t.false((await elements()).includes('elements'));
});

test('the iptables backend runs one restore per family, and none when all is there', async (t) => {
  t.timeout(long);
  const host = await makeHost(t);
  const {call} = await prepare(host, 'pod', {...conf, backend: 'iptables'}, bridge);
  const executed = async () => {
    const under = [
      'strace',
      '-f',
      '-qq',
      '-e',
      'trace=execve',
      '-e',
      'status=successful',
      '-o',
      '/run/trace',
    ];
    await callPlugin(host, {...call, under, command: 'ADD'});
    const names = (await host.read('/run/trace')).matchAll(/execve\("[^"]*\/bin\/([^"/]+)"/g);
    return [...names].map(([, name]) => name).filter((name) => /tables/.test(name ?? ''));
  };
  t.deepEqual(await executed(), ['iptables-save', 'iptables-restore', 'ip6tables-save', 'ip6tables-restore']);
  t.deepEqual(await executed(), ['iptables-save', 'ip6tables-save']);
});

for (const [what, more, script, variant] of [
  ['the iptables backend', {backend: 'iptables'}, '', 'nft'],
  [
    'nftables beside iptables-legacy',
    {},
    'iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP',
    'legacy',
  ],
  [
    'nftables beside iptables-nft',
    {ingressPolicy: 'isolated'},
    'iptables -P FORWARD DROP; ip6tables -P FORWARD DROP',
    'nft',
  ],
] as const)
  test(`twelve first ADDs at once, with ${what}`, async (t) => {
    t.timeout(long);
    const host = await makeHost(t);
    if (script !== '') await host.sh(script);
    const pod = await prepare(host, 'pod', {...conf, ...more}, bridge);
    const calls = Array.from({length: 12}, (_, i) => ({
      ...pod.call,
      containerId: `pod-${i}`,
      options: {timeoutMs: 60_000},
      prevResult: {
        ...pod.result,
        interfaces: pod.result.interfaces?.map(({name, ...rest}) => {
          return {...rest, name: name === pod.port ? `veth${1e7 + i}` : name};
        }),
        ips: [
          {address: `10.61.0.${100 + i}/24`, interface: 2},
          {address: `2001:db8:61::${100 + i}/64`, interface: 2},
        ],
      },
    }));
    await Promise.all(calls.map((call) => callPlugin(host, {...call, command: 'ADD'})));
    for (const call of calls) await callPlugin(host, {...call, command: 'CHECK'});
    const rules = (await saveFilter(host, variant)).filter((line) => line.startsWith('-A FORWARD'));
    t.is(rules.length, 2, rules.join('\n'));
    await Promise.all(calls.map((call) => callPlugin(host, {...call, command: 'DEL'})));
    t.is(rulesOf(await saveFilter(host, variant), ...calls.map((_, i) => `10.61.0.${100 + i}`)).length, 0);
    const {stdout} = await host.run(['nft', 'list', 'ruleset']);
    t.notRegex(stdout, /id: pod-|chain isolated-cni0/);
  });
