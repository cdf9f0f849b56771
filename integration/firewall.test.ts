import {addressesOf, attach} from './harness/attachment.ts';
import type {Attached} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import type {TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import type {PluginCall} from './harness/plugin.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

const network = bridgeNetwork({name: 'guarded', cniVersion: '1.1.0', bridge: 'cni0'});
const firewall = {cniVersion: '1.1.0', name: 'guarded', type: 'firewall'};

type Guarded = Attached & {readonly call: Omit<PluginCall, 'command'>};

/** A container of the bridge plugin, and the firewall behind it. */
async function guard(
  host: TestHost,
  name: string,
  conf: Readonly<Record<string, unknown>> = firewall,
  bridge: Readonly<Record<string, unknown>> = network,
): Promise<Guarded> {
  const attached = await attach(host, name, bridge);
  const call = {conf, netns: attached.netns, containerId: name, prevResult: attached.result};
  await callPlugin(host, {...call, command: 'ADD'});
  return {...attached, call};
}

async function pings(host: TestHost, from: string, addresses: readonly string[]): Promise<boolean[]> {
  const answers = addresses.map(async (address) => {
    const argv = host.inNetns(from, ['ping', '-c', '1', '-W', '2', address]);
    const {stdout} = await host.run(argv, {mayFail: true, timeoutMs: 30_000});
    return / 1 received/.test(stdout);
  });
  return Promise.all(answers);
}

const both = [true, true];
const neither = [false, false];

const drops = {
  'iptables-nft': 'iptables-nft -P FORWARD DROP; ip6tables-nft -P FORWARD DROP',
  'iptables-legacy': 'iptables-legacy -P FORWARD DROP; ip6tables-legacy -P FORWARD DROP',
} as const;

for (const [variant, script] of Object.entries(drops))
  test(`a container talks to the outside where ${variant} drops what is forwarded`, async (t) => {
    t.timeout(180_000);
    const host = await makeHost(t);
    const outside = await addOutside(host);
    await host.sh(script);
    const attached = await attach(host, 'pod', network);
    t.deepEqual(await pings(host, 'pod', outside.addresses), neither);
    const call = {conf: firewall, netns: attached.netns, containerId: 'pod', prevResult: attached.result};
    const result = await callPlugin(host, {...call, command: 'ADD'});
    t.deepEqual(addressesOf(result), attached.addresses);
    t.deepEqual(await pings(host, 'pod', outside.addresses), both);
    await callPlugin(host, {...call, command: 'CHECK'});
    // Twice is as once.
    await callPlugin(host, {...call, command: 'ADD'});
    const save = async () =>
      (await host.sh(`${variant}-save -t filter; ip6${variant.slice(2)}-save -t filter`)).stdout
        .split('\n')
        .filter((line) => /^(:|-)/.test(line))
        .map((line) => line.replace(/\[.*/, ''));
    const saved = await save();
    t.is(saved.filter((line) => line.startsWith('-A')).length, 2);
    await host.sh(`${variant}-save | ${variant}-restore`);
    await host.sh(`ip6${variant.slice(2)}-save | ip6${variant.slice(2)}-restore`);
    t.deepEqual(await save(), saved);
    t.deepEqual(await pings(host, 'pod', outside.addresses), both);
    await callPlugin(host, {...call, command: 'CHECK'});
    await callPlugin(host, {...call, command: 'ADD'});
    t.deepEqual(await save(), saved);
    await callPlugin(host, {...call, command: 'DEL'});
    t.deepEqual(await pings(host, 'pod', outside.addresses), neither);
    t.regex((await tryPlugin(host, {...call, command: 'CHECK'})).reply?.msg ?? '', /is not admitted/);
  });
