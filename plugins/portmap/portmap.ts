import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {isDenied, NetlinkError} from '../../lib/netlink/error.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import type {Backend} from './backend.ts';
import type {PortmapConf} from './conf.ts';
import type {IptablesForwarding} from './iptables-rules.ts';
import {families, planForwards} from './mapping.ts';
import type {Forward} from './mapping.ts';
import {formatMapping} from './listeners.ts';
import {findRouteInterface} from './localnet.ts';
import type {Forwarding} from './forward.ts';
import {keyOfMapping} from './rules.ts';

/** Does it with nftables, or with iptables where that is asked for or the kernel has nothing else. */
export async function withBackend<T>(
  {backend}: Pick<PortmapConf, 'backend'>,
  options: IptablesOptions,
  backends: Record<Backend, () => Promise<T>>,
): Promise<T> {
  if (backend === 'iptables') return backends.iptables();
  try {
    return await backends.nftables();
  } catch (error) {
    const canFallBack = backend === undefined && findTool('iptables-restore', options) !== undefined;
    if (canFallBack && isMissingNftables(error)) return backends.iptables();
    throw explain(error);
  }
}

/** Adds to an error of the kernel what the operator can do about it. */
export function explain(error: unknown): unknown {
  const told = (msg: string, details: string) =>
    new CniError(errorCodes.internal, msg, details, {cause: error});
  if (isMissingNftables(error)) {
    return told(
      'portmap: this kernel has no nftables',
      'load the module nf_tables, or install iptables and set "backend": "iptables"',
    );
  }
  if (isDenied(error)) {
    return told(
      'portmap: the kernel does not let this process change nftables (EPERM)',
      "CAP_NET_ADMIN is needed in the user namespace that owns the host's network namespace",
    );
  }
  if (error instanceof NetlinkError && error.code === 'ENOENT') {
    return told(
      `portmap: ${error.message}`,
      'the kernel lacks a part of nftables: load nft_chain_nat, nft_nat, nft_masq, nft_fib_inet and nft_ct, or set "backend": "iptables"',
    );
  }
  return error;
}

/** The mappings that the container has addresses for. Of two for the same place the first counts. */
export function planOwnForwards(call: Call, conf: PortmapConf): Forward[] {
  const unique = new Map<string, Forward>();
  for (const forward of planForwards(conf.mappings, conf.containers)) {
    const key = `${forward.family} ${keyOfMapping(forward).toString('hex')}`;
    const first = unique.get(key);
    if (!first) unique.set(key, forward);
    else if (first.containerPort !== forward.containerPort) {
      call.warn(
        `port ${formatMapping(forward)} is mapped twice: to ${first.containerPort}, which counts, and to ${forward.containerPort}`,
      );
    }
  }
  return [...unique.values()];
}

/** The host's interface towards the container, if 127.0.0.1 is to reach it: IPv4 with "snat" only. */
export async function findLocalInterface(
  host: Pick<Host, 'rt'>,
  {snat}: Pick<PortmapConf, 'snat'>,
  forwards: readonly Forward[],
): Promise<string | undefined> {
  const forward = snat ? forwards.find(({family}) => family === 4) : undefined;
  return forward && findRouteInterface(host, forward.container.ip);
}

export function planForwarding(
  conf: PortmapConf,
  forwards: readonly Forward[],
  localInterface: string | undefined,
): Forwarding {
  const {owner, snat, masqAll, conditions} = conf;
  return {owner, forwards, device: findDevice(conf), localInterface, snat, masqAll, conditions};
}

/** The host's end of the attachment: the last interface of the host before the container's own. */
function findDevice({previous, owner}: PortmapConf): string | undefined {
  const interfaces = previous?.interfaces ?? [];
  const own = interfaces.findIndex(({name, sandbox}) => name === owner.ifName && sandbox);
  return interfaces.slice(0, Math.max(own, 0)).findLast(({sandbox}) => !sandbox)?.name;
}

/** What iptables is to do, one for each family that has mappings. */
export function planIptablesForwardings(
  conf: PortmapConf,
  forwards: readonly Forward[],
): IptablesForwarding[] {
  const {owner, mappings, snat, masqAll, markBit, externalSetMarkChain} = conf;
  return families.flatMap((family) => {
    const own = forwards.filter((forward) => forward.family === family);
    if (own.length === 0) return [];
    return [
      {
        owner,
        family,
        forwards: own,
        mappings,
        snat,
        masqAll,
        markBit,
        externalSetMarkChain,
        matches: conf.matches[family],
      },
    ];
  });
}
