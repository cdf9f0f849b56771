import type {Call} from '../../lib/cni/plugin.ts';
import {formatIp, sameIp} from '../../lib/ip/address.ts';
import {listListeners, openDiagSocket} from '../../lib/netlink/diag/listener.ts';
import type {Listener} from '../../lib/netlink/diag/listener.ts';
import type {Mapping} from './mapping.ts';

/**
 * Warns, once, of processes that listen on mapped ports of the host: what is sent there goes to the container while it lives. No
 * error, since that is how runtimes (podman) keep a port for a container.
 */
export async function warnOfListeners(call: Call, mappings: readonly Mapping[]): Promise<void> {
  try {
    const busy = await findBusy(mappings);
    if (busy.length === 0) return;
    const ports = [...new Set(busy)].join(', ');
    call.warn(
      `processes of the host listen on ${ports}; what is sent there goes to container ${call.containerId} now`,
    );
  } catch (error) {
    // A kernel without sock_diag; nothing depends on it.
    call.log.debug({err: error}, 'cannot look for listening processes');
  }
}

async function findBusy(mappings: readonly Mapping[]): Promise<string[]> {
  using socket = openDiagSocket();
  const questions = (['tcp', 'udp'] as const).flatMap((protocol) => {
    const mapped = mappings.filter((mapping) => mapping.protocol === protocol);
    if (mapped.length === 0) return [];
    const [first, ...others] = new Set(mapped.map(({hostPort}) => hostPort));
    const port = others.length === 0 ? first : undefined;
    return ([4, 6] as const).map(async (family) => {
      const listeners = await listListeners(socket, {family, protocol, ...(port !== undefined && {port})});
      return listeners
        .filter((listener) => mapped.some((mapping) => isMet(mapping, listener)))
        .map(({port}) => `port ${port}/${protocol}`);
    });
  });
  return (await Promise.all(questions)).flat();
}

function isMet({hostPort, hostIp}: Mapping, {ip, port}: Listener): boolean {
  return port === hostPort && (!hostIp || ip.value === 0n || sameIp(ip, hostIp));
}

/** For messages: `192.0.2.1:8080/tcp`. */
export function formatMapping({hostIp, hostPort, protocol}: Mapping): string {
  const ip = hostIp ? formatIp(hostIp) : '';
  return `${ip.includes(':') ? `[${ip}]` : ip}${ip === '' ? '' : ':'}${hostPort}/${protocol}`;
}
