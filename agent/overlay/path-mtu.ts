import type {NetworkContext} from './network-context.ts';

/**
 * Forwarded IPv4 packets heed what the kernel has learned of a path (`df` of the devices is "inherit") only if the host lets
 * them; IPv6's always do.
 */
export function ensurePathMtu({conf, host, log}: Pick<NetworkContext, 'conf' | 'host' | 'log'>): void {
  if (!conf.pathMtu || conf.form === 'l2') return;
  try {
    host.sysctl.ensure('net/ipv4/ip_forward_use_pmtu', '1');
  } catch (error) {
    log.debug({error}, 'net.ipv4.ip_forward_use_pmtu cannot be set');
  }
}
