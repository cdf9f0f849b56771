import type {ExecutionContext} from 'ava';
import {setTimeout} from 'node:timers/promises';
import {formatIp} from '../../lib/ip/address.ts';
import {openGenericSocket} from '../../lib/netlink/generic/socket.ts';
import {getWireguard} from '../../lib/netlink/wireguard/device.ts';
import {EncryptionPlanner, encryptionPort} from '../../lib/overlay/encryption/plan.ts';
import {
  ensureTunnel,
  openWireguard,
  removeTunnels,
  type EnsuredTunnel,
  type WireguardSocket,
} from '../../lib/overlay/encryption/ensure.ts';
import {parseSecret, type OverlaySecret} from '../../lib/overlay/encryption/keys.ts';
import {planDesired} from '../../lib/overlay/desired.ts';
import {ensureRuleset} from '../../lib/overlay/ensure-ruleset.ts';
import {
  makeLocal,
  makeMember,
  makeNetwork,
  makePair,
  reconcile,
  type OverlayHost,
} from '../harness/overlay-pair.ts';
import {testWith} from '../harness/needs.ts';
import {sniff} from '../harness/sniffer.ts';

const test = testWith('root');
const members = [makeMember(1), makeMember(2)];
const first = parseSecret(0, 'the secret that the hosts of this test began with');
const second = parseSecret(1, 'the secret that takes the place of the first one');

/** What is sent, and looked for in the underlay. */
const word = 'weft-clear-text!';
const pattern = Buffer.from(word).toString('hex');

interface Rig {
  readonly hosts: readonly [OverlayHost, OverlayHost];
  /** Brings a host in order, with these secrets. */
  readonly encrypt: (host: OverlayHost, secrets: readonly OverlaySecret[]) => Promise<EnsuredTunnel[]>;
  readonly wireguard: ReadonlyMap<OverlayHost, WireguardSocket>;
}

async function makeRig(t: ExecutionContext): Promise<Rig> {
  const hosts = await makePair(t);
  const wireguard = new Map<OverlayHost, WireguardSocket>();
  for (const host of hosts) {
    const opened = await openWireguard(host.rt, () => host.netns.run(() => openGenericSocket()));
    t.teardown(() => opened.socket.close());
    wireguard.set(host, opened);
  }
  return {
    hosts,
    wireguard,
    async encrypt(host, secrets) {
      const network = makeNetwork();
      const self = members[host.number - 1]!;
      const peers = members.filter((each) => each !== self);
      const planner = new EncryptionPlanner({secrets, port: encryptionPort});
      const {tunnels, membership, local, sources} = planner.plan({network, self, peers}, makeLocal(host));
      const done: EnsuredTunnel[] = [];
      for (const tunnel of tunnels)
        done.push(await ensureTunnel(host.rt, wireguard.get(host)!, tunnel, {network: network.name}));
      await reconcile(t, host, {...membership, members: [membership.self, ...membership.peers], local});
      const desired = {...planDesired(membership, local), sources};
      await ensureRuleset(host.nft, desired, {filter: true, through: tunnels.map(({name}) => name)});
      await removeTunnels(host.rt, network.name, tunnels);
      return done;
    },
  };
}

const ping = (host: OverlayHost, ...more: string[]) =>
  host.run('ping', '-c', '3', '-i', '0.3', '-W', '10', '-p', pattern, ...more, '10.244.2.1');

test.serial('without encryption, who looks at the underlay reads along', async (t) => {
  const pair = await makePair(t);
  for (const host of pair) await reconcile(t, host, {members});
  const sniffer = await sniff(pair[1], 'eth0', [word]);
  await t.notThrowsAsync(ping(pair[0]));
  t.true((await sniffer.stop())[word]! >= 6);
});

test.serial('with it, nothing can be read, and nothing goes past it', async (t) => {
  const {hosts, encrypt, wireguard} = await makeRig(t);
  const [a, b] = hosts;
  for (const host of hosts) {
    t.like(await encrypt(host, [first]), [{outcome: 'made', set: 1}]);
    t.like(await encrypt(host, [first]), [{outcome: 'kept', set: 0, removed: 0}]);
  }
  const sniffer = await sniff(b, 'eth0', [word]);
  await t.notThrowsAsync(ping(a));
  // The largest packet that fits, unfragmented.
  await t.notThrowsAsync(ping(a, '-M', 'do', '-s', String(1500 - 60 - 70 - 28)));
  const seen = await sniffer.stop();
  t.is(seen[word], 0);
  t.true(seen['frames']! >= 12);
  const {peers} = await getWireguard(wireguard.get(a)!.socket, {
    family: wireguard.get(a)!.family,
    name: 'wg1.0',
  });
  t.true(peers[0]!.lastHandshake > 0 && peers[0]!.rxBytes > 0n);
  // A peer with a handshake is as it should be, too.
  t.like(await encrypt(a, [first]), [{outcome: 'kept', set: 0}]);
});

test.serial('it fails closed, both ways', async (t) => {
  const {hosts, encrypt} = await makeRig(t);
  const [a, b] = hosts;
  for (const host of hosts) await encrypt(host, [first]);
  await t.notThrowsAsync(ping(a));

  // Someone takes the tunnel away on one side, and makes a way past it.
  const {address} = new EncryptionPlanner({secrets: [first], port: encryptionPort}).plan(
    {network: makeNetwork(), self: members[1]!, peers: []},
    makeLocal(b),
  ).tunnels[0]!;
  const far = formatIp(address.ip);
  await a.run('ip', 'link', 'del', 'wg1.0');
  await a.run('ip', '-6', 'route', 'add', `${far}/128`, 'via', 'fd00:50::2', 'dev', 'eth0');
  await a.run('ip', 'addr', 'add', 'fd00:99::1/128', 'dev', 'eth0');
  const sniffer = await sniff(b, 'eth0', [word]);
  await a.run('ip', 'link', 'set', 'flannel-v6.1', 'type', 'vxlan', 'id', '1', 'local', 'fd00:99::1');
  await t.throwsAsync(ping(a, '-c', '1', '-W', '3'));
  t.is((await sniffer.stop())[word], 0);

  // And where nothing keeps it in: the other side does not take it.
  await a.run('nft', 'flush', 'ruleset');
  const again = await sniff(b, 'eth0', [word]);
  await t.throwsAsync(ping(a, '-c', '1', '-W', '3'));
  t.true((await again.stop())[word]! > 0, 'it came');
  const {stdout} = await b.run('nft', 'list', 'ruleset');
  t.regex(stdout, /fib daddr type local counter packets [1-9]/);
});

test.serial('one secret takes the place of another, and no packet is lost', async (t) => {
  const {hosts, encrypt} = await makeRig(t);
  const [a, b] = hosts;
  for (const host of hosts) await encrypt(host, [first]);
  await t.notThrowsAsync(ping(a));
  const witness = a.run('ping', '-i', '0.1', '-c', '120', '-W', '5', '-p', pattern, '10.244.2.1');
  const sniffer = await sniff(b, 'eth0', [word]);
  const steps: readonly (readonly [OverlayHost, readonly OverlaySecret[]])[] = [
    // All hosts know it,
    ...hosts.map((host) => [host, [first, second]] as const),
    // then one after the other uses it,
    ...hosts.map((host) => [host, [second, first]] as const),
    // then the old one is forgotten.
    ...hosts.map((host) => [host, [second]] as const),
  ];
  for (const [host, secrets] of steps) {
    await setTimeout(700);
    await encrypt(host, secrets);
  }
  const {stdout} = await witness;
  t.regex(stdout, /, 0% packet loss/);
  t.is((await sniffer.stop())[word], 0);
  for (const host of hosts) {
    const links = await host.show('ip', 'link', 'show', 'type', 'wireguard');
    t.deepEqual(
      links.map(({ifname}) => ifname),
      ['wg1.1'],
    );
  }
});

test.serial('who has another secret is no member', async (t) => {
  const {hosts, encrypt} = await makeRig(t);
  const [a, b] = hosts;
  await encrypt(a, [first]);
  await encrypt(b, [parseSecret(0, 'a guess that somebody made, and a wrong one')]);
  await t.throwsAsync(ping(a, '-c', '1', '-W', '3'));
});
