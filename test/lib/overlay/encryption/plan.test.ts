import test from 'ava';
import {createPrivateKey, createPublicKey, diffieHellman} from 'node:crypto';
import {formatIp, parseIp} from '../../../../lib/ip/address.ts';
import {containsIp, formatCidr, parseCidr} from '../../../../lib/ip/cidr.ts';
import type {WireguardDevice, WireguardPeerState} from '../../../../lib/netlink/wireguard/device.ts';
import {planDesired} from '../../../../lib/overlay/desired.ts';
import {
  deriveHostKeys,
  derivePresharedKey,
  parseSecret,
  tunnelAddress,
  tunnelPrefix,
} from '../../../../lib/overlay/encryption/keys.ts';
import {
  EncryptionPlanner,
  encryptionPort,
  tunnelName,
  type SecureTunnel,
} from '../../../../lib/overlay/encryption/plan.ts';
import {deriveVtepMac} from '../../../../lib/overlay/vtep-mac.ts';
import {planTunnel} from '../../../../lib/overlay/encryption/plan-tunnel.ts';
import {local, member, network} from '../members.ts';

const secret = parseSecret(0, 'a secret that is long enough for this test');
const newer = parseSecret(3, 'another secret, as long as the first one was');
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

test('a secret is long enough, and has a number', (t) => {
  t.throws(() => parseSecret(0, ' short\n'), {message: /has 5 bytes.*openssl rand/});
  t.throws(() => parseSecret(16, 'x'.repeat(40)), {message: /0 to 15, not 16/});
  t.is(hex(parseSecret(1, ` ${'x'.repeat(32)}\n`).secret), '78'.repeat(32));
});

test('every host derives the same keys for a host, and others for another, network or secret', (t) => {
  const keys = deriveHostKeys(secret, 'pods', 'host-1');
  t.deepEqual(deriveHostKeys(secret, 'pods', 'host-1'), keys);
  const all = [
    keys,
    deriveHostKeys(secret, 'pods', 'host-2'),
    deriveHostKeys(secret, 'other', 'host-1'),
    deriveHostKeys(newer, 'pods', 'host-1'),
  ];
  t.is(new Set(all.map(({publicKey}) => hex(publicKey))).size, 4);
  t.is(keys.privateKey.length, 32);
  // The public key is that of the private one, by another way to compute it.
  const der = Buffer.concat([Buffer.from('302e020100300506032b656e04220420', 'hex'), keys.privateKey]);
  const own = createPrivateKey({key: der, format: 'der', type: 'pkcs8'});
  const base = createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b656e032100', 'hex'), Buffer.from([9]), Buffer.alloc(31)]),
    format: 'der',
    type: 'spki',
  });
  t.is(hex(diffieHellman({privateKey: own, publicKey: base})), hex(keys.publicKey));
});

test('two hosts share a key, whichever of them asks', (t) => {
  const key = derivePresharedKey(secret, 'pods', ['host-1', 'host-2']);
  t.deepEqual(derivePresharedKey(secret, 'pods', ['host-2', 'host-1']), key);
  t.notDeepEqual(derivePresharedKey(secret, 'pods', ['host-1', 'host-3']), key);
});

test('addresses in the tunnel: of a network of its own, the same for ever', (t) => {
  const prefix = tunnelPrefix({name: 'pods', vni: 1}, 0);
  t.true(containsIp(parseCidr('fd00::/8')!, prefix.ip));
  t.is(prefix.prefix, 64);
  const address = tunnelAddress(prefix, 'host-1');
  t.true(containsIp(prefix, address));
  t.is(formatIp(tunnelAddress(prefix, 'host-1')), formatIp(address));
  t.not(formatIp(tunnelAddress(prefix, 'host-2')), formatIp(address));
  t.not(formatCidr(tunnelPrefix({name: 'pods', vni: 1}, 1)), formatCidr(prefix));
  t.not(formatCidr(tunnelPrefix({name: 'other', vni: 1}, 0)), formatCidr(prefix));
});

const membership = {network: network({directRouting: true}), self: member(1), peers: [member(2), member(3)]};

test('an encrypted overlay is one over another underlay', (t) => {
  const settings = local({direct: new Map([['192.0.2.2', 2]])});
  const overlay = new EncryptionPlanner({secrets: [secret], port: encryptionPort}).plan(membership, settings);
  const [tunnel] = overlay.tunnels;
  t.like(tunnel, {name: 'wg1.0', port: 51_872, mtu: 1440});
  t.deepEqual(
    tunnel!.peers.map(({id, endpoint}) => [id, formatIp(endpoint.ip), endpoint.port]),
    [
      ['host-2', '192.0.2.2', 51_872],
      ['host-3', '192.0.2.3', 51_872],
    ],
  );
  const desired = planDesired(overlay.membership, overlay.local);
  const [device] = desired.devices;
  const macOf = (node: string) => deriveVtepMac({vni: 1, node, family: 6});
  t.like(device, {mtu: 1370, link: undefined, mac: macOf('host-1')});
  t.is(formatIp(device!.local), formatIp(tunnel!.address.ip));
  const [state] = desired.peers;
  t.is(formatIp(state!.ends[0]!.to), formatIp(tunnel!.peers[0]!.allowedIps[0]!.ip));
  t.is(state!.ends[0]!.mac, macOf('host-2'));
  // The same segment or not: nothing goes in clear.
  t.deepEqual(state!.routes[0]!.via, {device: device!.name});
  t.deepEqual(desired.conflicts, []);
});

test('two secrets: packets leave by the first, and come by both', (t) => {
  const planner = new EncryptionPlanner({secrets: [newer, secret], port: encryptionPort});
  const {tunnels, sources, local: inside} = planner.plan(membership, local());
  t.deepEqual(
    tunnels.map(({name, port}) => [name, port]),
    [
      ['wg1.3', 51_875],
      ['wg1.0', 51_872],
    ],
  );
  t.is(formatIp(inside.carrier.addresses[0]!), formatIp(tunnels[0]!.address.ip));
  t.is(sources.length, 4);
  // Under any of its addresses a peer may send by any of the tunnels; the first is the tunnel's own.
  const [one, other] = tunnels.map(({peers}) => peers[0]!.allowedIps.map(formatCidr));
  t.deepEqual(one, other!.toReversed());
  t.true(containsIp(tunnels[0]!.address, tunnels[0]!.peers[0]!.allowedIps[0]!.ip));
});

test('what follows from a member that did not change is kept', (t) => {
  const planner = new EncryptionPlanner({secrets: [secret], port: encryptionPort});
  const first = planner.plan(membership, local());
  const second = planner.plan({...membership, peers: [membership.peers[0]!, member(4)]}, local());
  t.is(second.membership.peers[0], first.membership.peers[0]);
  t.is(second.tunnels[0]!.peers[0], first.tunnels[0]!.peers[0]);
});

test('names fit into 15 bytes', (t) => {
  t.is(tunnelName(16_777_215, 15).length, 13);
});

const planner = new EncryptionPlanner({secrets: [secret], port: encryptionPort});
const tunnel = planner.plan(membership, local()).tunnels[0]!;
const now = 1_800_000_000;

function having(
  changes: Partial<WireguardPeerState> = {},
  device: Partial<WireguardDevice> = {},
): WireguardDevice {
  return {
    ifindex: 9,
    publicKey: tunnel.keys.publicKey,
    port: tunnel.port,
    peers: tunnel.peers.map((peer, i) => ({
      ...peer,
      ...{lastHandshake: now - 60, rxBytes: 1n, txBytes: 1n},
      ...(i === 0 ? changes : {}),
    })),
    ...device,
  };
}

const empty: WireguardDevice = {ifindex: 9, publicKey: undefined, port: 0, peers: []};
const moved = {ip: parseIp('198.51.100.7')!, port: 4000};
const ids = (change: ReturnType<typeof planTunnel>) =>
  (change.set ?? []).map(({publicKey}) => tunnel.peers.find((peer) => peer.publicKey === publicKey)?.id);

test('a new device gets its key, its port and its peers', (t) => {
  const change = planTunnel(tunnel, empty, {now});
  t.like(change, {privateKey: tunnel.keys.privateKey, port: tunnel.port, remove: undefined});
  t.deepEqual(ids(change), ['host-2', 'host-3']);
});

test('one as it should be is left alone', (t) => {
  t.deepEqual(planTunnel(tunnel, having(), {now}), {});
});

test('a peer that left is removed', (t) => {
  const fewer: SecureTunnel = {...tunnel, peers: tunnel.peers.slice(1)};
  t.deepEqual(planTunnel(fewer, having(), {now}), {remove: [tunnel.peers[0]!.publicKey]});
});

test('a peer with other addresses inside, or another shared key, is set', (t) => {
  t.deepEqual(ids(planTunnel(tunnel, having({allowedIps: []}), {now})), ['host-2']);
  t.deepEqual(ids(planTunnel(tunnel, having({presharedKey: Buffer.alloc(32)}), {now})), ['host-2']);
});

test('a peer that moved by itself keeps the address it is heard from', (t) => {
  t.deepEqual(planTunnel(tunnel, having({endpoint: moved}), {now}), {});
  t.deepEqual(planTunnel(tunnel, having({endpoint: moved}), {now, before: tunnel}), {});
});

test('one that is not heard any more is looked for where the membership says', (t) => {
  const silent = having({endpoint: moved, lastHandshake: now - 600});
  const change = planTunnel(tunnel, silent, {now});
  t.deepEqual(ids(change), ['host-2']);
  t.is(change.set![0]!.endpoint, tunnel.peers[0]!.endpoint);
});

test('a new address that the membership tells counts at once', (t) => {
  const [first, ...rest] = tunnel.peers;
  const before = {...tunnel, peers: [{...first!, endpoint: moved}, ...rest]};
  t.deepEqual(ids(planTunnel(tunnel, having({endpoint: moved}), {now, before})), ['host-2']);
});
