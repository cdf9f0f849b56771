import {addressesOf} from './attachment.ts';
import type {AgentOptions, RunningAgent} from './overlay-agent.ts';
import {startEtcd, type Etcd, type EtcdOptions} from './etcd.ts';
import type {OverlayRig, RigHost} from './overlay-rig.ts';
import {callPlugin, type PluginCall, type Reply} from './plugin.ts';

/** Intervals that make faults quick to see. */
const quick = {
  debounceMs: 10,
  maxDelayMs: 100,
  // By the clock nothing is repaired, but where a test says so.
  resyncMs: 600_000,
  removalDelayMs: 1000,
  massDeleteGraceMs: 4000,
  backoffMs: 50,
  backoffMaxMs: 1000,
} as const;

/** The whole configuration of an agent with one overlay network, `pods`. */
export function agentConfig(
  node: string,
  membership: Readonly<Record<string, unknown>>,
  {
    network = {},
    overlay = {},
  }: {
    readonly network?: Readonly<Record<string, unknown>>;
    readonly overlay?: Readonly<Record<string, unknown>>;
  } = {},
) {
  return {
    logLevel: 'debug',
    cni: {enabled: false},
    overlay: {
      node,
      ...quick,
      ...overlay,
      networks: [{name: 'pods', membership, underlay: {interface: 'eth0'}, ...network}],
    },
  };
}

export const staticFile = '/etc/weft/overlay.json';

/** One host in a static membership. */
export interface StaticNode {
  readonly name: string;
  readonly publicIP?: string;
  readonly publicIPv6?: string;
  readonly subnets: readonly string[];
  readonly mac?: string;
}

/** The `index`th host of the rig in a static membership: 10.244.N.0/24 and fd00:244:0:N::/64. */
export function staticNode(host: RigHost, index: number): StaticNode {
  return {
    name: host.name,
    publicIP: host.ipv4,
    publicIPv6: host.ipv6,
    subnets: [`10.244.${index}.0/24`, `fd00:244:0:${index}::/64`],
  };
}

export const staticNetwork = {network: ['10.244.0.0/16', 'fd00:244::/48'], vni: 1, port: 8472} as const;

/** Writes the file of a static membership on a host. */
export async function writeStatic(
  host: RigHost,
  nodes: readonly StaticNode[],
  more: Readonly<Record<string, unknown>> = {},
): Promise<void> {
  const temporary = `${staticFile}.new`;
  await host.host.write(temporary, JSON.stringify({...staticNetwork, ...more, nodes}));
  await host.host.run(['mv', temporary, staticFile], {log: () => {}});
}

/** Writes the same file on all hosts of the rig and starts an agent on each. */
export async function startStatic(
  rig: OverlayRig,
  {
    more = {},
    config = {},
    options = {},
  }: {
    readonly more?: Readonly<Record<string, unknown>>;
    readonly config?: Parameters<typeof agentConfig>[2];
    readonly options?: AgentOptions;
  } = {},
): Promise<Map<string, RunningAgent>> {
  const nodes = rig.hosts.map((host, index) => staticNode(host, index + 1));
  const started = await Promise.all(
    rig.hosts.map(async (host) => {
      await writeStatic(host, nodes, more);
      const agent = await host.startAgent(
        agentConfig(host.name, {type: 'static', file: staticFile}, config),
        options,
      );
      return [host.name, agent] as const;
    }),
  );
  return new Map(started);
}

/** Debian's etcd in the rig's namespace `store`, on as many of its addresses as it has members. */
export async function startStore(
  rig: OverlayRig,
  {members = 1, ...options}: EtcdOptions & {readonly members?: 1 | 3} = {},
): Promise<Etcd> {
  const netns = `/proc/${rig.underlay.pid}/root/run/netns/store`;
  return startEtcd({
    addresses: rig.storeAddresses.slice(0, members),
    enter: ['nsenter', `--net=${netns}`, '--'],
    ...options,
  });
}

/** A container on a host, attached by the plugin. */
export interface Pod {
  readonly name: string;
  readonly host: RigHost;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly result: Reply;
  readonly call: Omit<PluginCall, 'command'>;
}

export const podConf = {
  cniVersion: '1.0.0',
  name: 'pods',
  type: 'vxlan',
  delegate: {isDefaultGateway: true, hairpinMode: true},
} as const;

/** Makes a container and attaches it to the overlay. */
export async function addPod(host: RigHost, name: string, conf: PluginCall['conf'] = podConf): Promise<Pod> {
  const netns = await host.host.addNetns(name);
  const call = {conf, netns, containerId: `${host.name}-${name}`};
  const result = await callPlugin(host.host, {...call, command: 'ADD'});
  const addresses = addressesOf(result);
  return {
    name,
    host,
    call,
    result,
    ipv4: addresses.find((each) => each.includes('.')) ?? '',
    ipv6: addresses.find((each) => each.includes(':')) ?? '',
  };
}

export async function removePod({host, name, call, result}: Pod): Promise<void> {
  await callPlugin(host.host, {...call, command: 'DEL', prevResult: result});
  await host.host.removeNetns(name);
}

export const storePrefix = '/coreos.com/network';

/** A membership in the rig's store, with intervals that make faults quick to see. */
export function storeMembership(etcd: Etcd, more: Readonly<Record<string, unknown>> = {}) {
  return {
    type: 'etcd',
    endpoints: etcd.endpoints,
    prefix: storePrefix,
    leaseTtlS: 300,
    aliveTtlS: 60,
    requestTimeoutMs: 1000,
    retryMs: 50,
    retryMaxMs: 500,
    staleAfterMs: 500,
    probeMs: 1000,
    ...more,
  };
}

/** Writes flannel's `config` of the network `pods` into the store. */
export async function putNetwork(
  etcd: Etcd,
  more: Readonly<Record<string, unknown>> = {},
  prefix: string = storePrefix,
): Promise<void> {
  const config = {
    Network: '10.244.0.0/16',
    EnableIPv6: true,
    IPv6Network: 'fd00:244::/48',
    Backend: {Type: 'vxlan', VNI: 1, Port: 8472},
    ...more,
  };
  await etcd.ctl(['put', `${prefix}/config`, JSON.stringify(config)]);
}

/** Puts the record of a host that does not exist, as flannel writes it. */
export async function putPeer(
  etcd: Etcd,
  index: number,
  {ip = `192.168.50.${index}`, mac, id}: {readonly ip?: string; readonly mac: string; readonly id?: string},
): Promise<void> {
  await etcd.ctl([
    'put',
    `${storePrefix}/subnets/10.244.${index}.0-24`,
    JSON.stringify({
      PublicIP: ip,
      PublicIPv6: null,
      BackendType: 'vxlan',
      BackendData: {VNI: 1, VtepMAC: mac},
      ...(id !== undefined && {Weft: {v: 1, id}}),
    }),
  ]);
}

export async function removePeer(etcd: Etcd, index: number): Promise<void> {
  await etcd.ctl(['del', `${storePrefix}/subnets/10.244.${index}.0-24`]);
}
