import {join} from 'node:path';
import {existsSync} from 'node:fs';
import type {Host} from '../../lib/host.ts';
import {listBaseChains} from '../../lib/netlink/nft/chain.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {parseDeviceAlias} from '../../lib/overlay/device-spec.ts';
import {about, type Finding} from './finding.ts';
import {checkFlannel} from './overlay-flannel.ts';
import {askPeer, judgePeer} from './overlay-peer.ts';
import type {OverlayNetworkStatus, OverlayStatus} from './overlay-status.ts';

/** Of more peers than these some are asked: each may take three seconds. */
const mostPeers = 50;

/**
 * Overlay networks: their store, what the kernel lacks, whether each peer answers, and how large a packet the way to it takes.
 * `overlay` is undefined where the agent has none.
 */
export async function checkOverlay(
  host: Host,
  overlay: OverlayStatus | undefined,
  {runDir}: {readonly runDir: string},
): Promise<readonly Finding[]> {
  const networks = overlay?.networks ?? [];
  const findings = (await Promise.all(networks.map(checkNetwork))).flat();
  return [
    ...findings,
    ...(await checkDevices(host, overlay, runDir)),
    ...(await checkInput(host, networks)),
    ...(overlay ? await checkFlannel(host) : []),
  ];
}

async function checkNetwork(network: OverlayNetworkStatus): Promise<readonly Finding[]> {
  const {name, reasons, differs, peers, mtu} = network;
  const {ok, warning, problem} = about(`overlay ${name}`);
  const findings = [...checkMembership(network), ...reasons.map((reason) => problem(`not ready: ${reason}`))];
  if (differs.length > 0) {
    findings.push(
      warning(
        `the kernel lacks ${differs.length} entries: ${differs.slice(0, 3).join('; ')}`,
        'the agent tries again by itself; its log says why',
      ),
    );
  }
  findings.push(...peers.flatMap((peer) => judgePeer(name, peer)));
  const there = peers.filter(({state}) => state !== 'failed' && state !== 'left out');
  const step = Math.max(1, Math.ceil(there.length / mostPeers));
  const some = there.filter((_, i) => i % step === 0);
  const bad = (await Promise.all(some.map((peer) => askPeer(network, peer)))).flat();
  findings.push(...bad);
  if (bad.length === 0)
    findings.push(
      ok(`${some.length} of ${peers.length} peers asked, all answer with packets of ${mtu ?? 1450} bytes`),
    );
  return findings;
}

/** A conflict is among the reasons already, with what to do. */
function checkMembership({name, membership}: OverlayNetworkStatus): Finding[] {
  const {source, state, reason} = membership;
  if (state === 'ready' || state === 'conflict') return [];
  const {problem} = about(`overlay ${name}`);
  const remedy =
    source === 'static'
      ? 'mend the file; what it said last stands meanwhile'
      : 'look whether the store runs and this host reaches it; containers keep what they have meanwhile';
  return [problem(`its store: ${state}${reason === undefined ? '' : `, ${reason}`}`, remedy)];
}

/** Devices that an overlay left which nobody runs any more. */
async function checkDevices(
  host: Host,
  overlay: OverlayStatus | undefined,
  runDir: string,
): Promise<readonly Finding[]> {
  const {warning} = about('overlay');
  const networks = overlay?.networks ?? [];
  const names = new Set(networks.map(({name}) => name));
  const devices = new Set(networks.flatMap((network) => network.devices ?? []).map(({name}) => name));
  // Kept by the plugin itself, without any agent.
  const isStatic = (network: string) => existsSync(join(runDir, 'overlay/static', `${network}.json`));
  const links = await listLinks(host.rt, {kind: 'vxlan'});
  return links.flatMap(({name, alias}) => {
    const network = parseDeviceAlias(alias);
    if (devices.has(name) || (network !== undefined && (names.has(network) || isStatic(network)))) return [];
    if (network !== undefined)
      return [
        warning(
          `the device ${name} is of the overlay network ${network}, which the agent's configuration does not have`,
          `weft overlay cleanup --force --network ${network}, if it was given up`,
        ),
      ];
    // Where the agent has no overlay, flanneld may have one.
    if (overlay === undefined || !/^(flannel|weft)[.-]/.test(name)) return [];
    return [
      warning(
        `the device ${name} belongs to no network of the agent's configuration`,
        `ip link delete ${name}, if nobody else uses it`,
      ),
    ];
  });
}

const families = ['ip', 'ip6', 'inet'] as const;

/** A firewall that drops what comes in, unless it is told to let the tunnel through. */
async function checkInput(host: Host, networks: OverlayStatus['networks']): Promise<readonly Finding[]> {
  const {warning} = about('overlay');
  const ports = [...new Set(networks.flatMap(({port}) => (port === undefined ? [] : [port])))];
  if (ports.length === 0) return [];
  const lists = await Promise.all(
    families.map((family) => listBaseChains(host.nft, {family, hook: 'input'})),
  ).catch((error: unknown) => {
    if (isMissingNftables(error)) return [];
    throw error;
  });
  const closed = lists.flat().filter(({policy, type}) => policy === 'drop' && type === 'filter');
  return closed.map(({table, chain}) =>
    warning(
      `the chain ${table} ${chain} drops what comes in unless a rule accepts it`,
      `look whether one accepts UDP port ${ports.join(', ')} from the other hosts`,
    ),
  );
}
