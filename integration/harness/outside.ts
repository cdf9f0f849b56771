import type {TestHost} from './host.ts';

/** A network beyond the host: where masqueraded packets go, and from which no route leads back to containers. */
export interface Outside {
  readonly netns: string;
  /** The host's own addresses on it: what a masqueraded container looks like from outside. */
  readonly hostAddresses: readonly [string, string];
  readonly addresses: readonly [string, string];
}

/** Makes namespace `outside`, joined to the host by a veth pair with addresses for documentation. */
export async function addOutside(host: TestHost): Promise<Outside> {
  await host.addNetns('outside');
  await host.sh(`
    ip link add uplink type veth peer name eth0 netns outside
    ip address add 192.0.2.1/24 dev uplink
    ip address add 2001:db8:2::1/64 dev uplink nodad
    ip link set uplink up
    nsenter --net=/run/netns/outside ip address add 192.0.2.2/24 dev eth0
    nsenter --net=/run/netns/outside ip address add 2001:db8:2::2/64 dev eth0 nodad
    nsenter --net=/run/netns/outside ip link set eth0 up
  `);
  // A link that came up a moment ago may lose its first packets; tests are about those of containers.
  for (const address of ['192.0.2.2', '2001:db8:2::2'])
    await host.sh(`for i in $(seq 20); do ping -c 1 -W 1 "$1" >/dev/null && exit; done; exit 1`, {
      args: [address],
      timeoutMs: 30_000,
    });
  return {
    netns: 'outside',
    hostAddresses: ['192.0.2.1', '2001:db8:2::1'],
    addresses: ['192.0.2.2', '2001:db8:2::2'],
  };
}
