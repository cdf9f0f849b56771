import type {Host} from '../../lib/host.ts';
import {listAttached} from './attached.ts';
import {about, type Finding} from './finding.ts';

/**
 * Whether the host passes on packets of its containers. Only asked where there are containers of ours. `usesIpv6`: whether
 * some network gives IPv6 addresses.
 */
export async function checkForwarding(
  host: Host,
  {usesIpv6}: {readonly usesIpv6: boolean},
): Promise<readonly Finding[]> {
  const {ok, problem} = about('forwarding');
  const attached = (await listAttached(host)).length;
  if (attached === 0) return [ok('no container is attached by weft')];
  const off = (['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding'] as const).filter((name) =>
    isOff(host, name),
  );
  if (off.length === 0) return [ok(`on for IPv4 and IPv6; ${attached} containers are attached`)];
  return off.map((name) => {
    const family = name === 'net/ipv4/ip_forward' ? 4 : 6;
    if (family === 6 && !usesIpv6) return ok(`${name} is 0: no network uses IPv6`);
    return problem(
      `${name} is 0: ${attached} containers reach nothing beyond this host over IPv${family}`,
      `sysctl -w ${name.replaceAll('/', '.')}=1, and find out what resets it (grep -r forward /etc/sysctl*)`,
    );
  });
}

function isOff({sysctl}: Host, name: string): boolean {
  try {
    return sysctl.read(name).trim() === '0';
  } catch {
    // A kernel without IPv6.
    return false;
  }
}
