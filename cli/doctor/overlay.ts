import type {Host} from '../../lib/host.ts';
import {parseIp} from '../../lib/ip/address.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {listBaseChains} from '../../lib/netlink/nft/chain.ts';
import {listLinks} from '../../lib/netlink/route/link.ts';
import {echo} from './echo.ts';
import {about, type Finding} from './finding.ts';

/** What of the agent's status is looked at; agent/overlay/status.ts writes it. */
export interface OverlayStatus {
  readonly networks: readonly {
    readonly name: string;
    readonly form: string;
    readonly ready: boolean;
    readonly reasons: readonly string[];
    readonly vni?: number | undefined;
    readonly port?: number | undefined;
    readonly mtu?: number | undefined;
    readonly membership: {readonly state: string; readonly reason?: string | undefined};
    readonly devices?: readonly {readonly name: string}[];
    readonly peers: readonly {
      readonly id: string;
      readonly state: string;
      readonly error?: string | undefined;
      readonly subnets: readonly string[];
      readonly underlay: readonly string[];
    }[];
    readonly differs: readonly string[];
  }[];
}

const smallSize = 68;
const patienceMs = 1500;
/** More peers than these are sampled: each may take a second and a half. */
const mostPeers = 50;

/** Overlay networks: their store, what the kernel lacks, whether each peer answers, and how large a packet the way to it takes. */
export async function checkOverlay(host: Host, {networks}: OverlayStatus): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const network of networks) {
    const {ok, warning, problem} = about(`overlay ${network.name}`);
    const {membership, reasons, differs, peers, mtu = 1450} = network;
    if (membership.state !== 'ready') {
      findings.push(
        problem(
          `its store: ${membership.state}${membership.reason === undefined ? '' : `, ${membership.reason}`}`,
          'look whether the store runs and this host reaches it; containers keep what they have meanwhile',
        ),
      );
    }
    findings.push(...reasons.map((reason) => problem(`not ready: ${reason}`)));
    if (differs.length > 0) {
      findings.push(
        warning(
          `the kernel lacks ${differs.length} entries: ${differs.slice(0, 3).join('; ')}`,
          'the agent tries again by itself; its log says why',
        ),
      );
    }
    const asked = await Promise.all(
      peers.slice(0, mostPeers).map((peer) => checkPeer(network.name, peer, mtu)),
    );
    const bad = asked.flat();
    findings.push(...bad);
    if (bad.length === 0)
      findings.push(
        ok(`${asked.length} of ${peers.length} peers asked, all answer with packets of ${mtu} bytes`),
      );
  }
  findings.push(...(await checkDevices(host, networks)), ...(await checkInput(host, networks)));
  return findings;
}

type Peer = OverlayStatus['networks'][number]['peers'][number];

/** One peer: on the underlay, through the tunnel, and with packets as large as containers send. */
async function checkPeer(
  network: string,
  {id, state, error, subnets, underlay}: Peer,
  mtu: number,
): Promise<readonly Finding[]> {
  const {problem, warning} = about(`overlay ${network}`);
  const findings: Finding[] = [];
  if (state === 'failed')
    findings.push(problem(`peer ${id}: the kernel refuses it: ${error ?? 'the log says why'}`));
  const vteps = subnets.map((text) => parseCidr(text)?.ip).filter((ip) => ip !== undefined);
  const [vtep] = vteps;
  if (vtep === undefined) return findings;
  if ((await echo(vtep, {size: smallSize, timeoutMs: patienceMs})) !== 'answered') {
    const outer = underlay.map((text) => parseIp(text)).find((ip) => ip !== undefined);
    const answers =
      outer !== undefined && (await echo(outer, {size: smallSize, timeoutMs: patienceMs})) === 'answered';
    findings.push(
      answers
        ? problem(
            `peer ${id}: the host answers at ${underlay[0]}, but nothing comes through the tunnel`,
            "let the overlay's UDP port through the firewalls between the hosts, and on both",
          )
        : problem(
            `peer ${id} does not answer at ${underlay[0] ?? 'its address'}`,
            'look whether that host is up and its address is right',
          ),
    );
    return findings;
  }
  const whole = await echo(vtep, {size: mtu, timeoutMs: patienceMs});
  if (whole !== 'answered') {
    findings.push(
      warning(
        `peer ${id}: packets of ${mtu} bytes ${whole === 'too-large' ? 'are too large for the way there' : 'are lost on the way'}`,
        'some link between the hosts takes less than theirs: set "mtu" of the network, or mend the link',
      ),
    );
  }
  return findings;
}

/** Devices that an overlay left which nobody runs any more. */
async function checkDevices(host: Host, networks: OverlayStatus['networks']): Promise<readonly Finding[]> {
  const {warning} = about('overlay');
  const known = new Set(networks.flatMap(({devices = []}) => devices.map(({name}) => name)));
  const links = await listLinks(host.rt, {kind: 'vxlan'});
  return links
    .filter(({name}) => /^(flannel|weft)[.-]/.test(name) && !known.has(name))
    .map(({name}) =>
      warning(
        `the device ${name} belongs to no network of the agent's configuration`,
        `ip link delete ${name}, if nobody else uses it`,
      ),
    );
}

/** A firewall that drops what comes in, unless it is told to let the tunnel through. */
async function checkInput(host: Host, networks: OverlayStatus['networks']): Promise<readonly Finding[]> {
  const {warning} = about('overlay');
  const ports = [...new Set(networks.flatMap(({port}) => (port === undefined ? [] : [port])))];
  if (ports.length === 0) return [];
  const lists = await Promise.all(
    (['ip', 'ip6', 'inet'] as const).map((family) => listBaseChains(host.nft, {family, hook: 'input'})),
  );
  const closed = lists.flat().filter(({policy, type}) => policy === 'drop' && type === 'filter');
  return closed.map(({table, chain}) =>
    warning(
      `the chain ${table} ${chain} drops what comes in unless a rule accepts it`,
      `look whether one accepts UDP port ${ports.join(', ')} from the other hosts`,
    ),
  );
}
