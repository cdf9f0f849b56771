// A process of its own in a test host: carries out the masquerading calls of its argument, a JSON list, and prints what
// they returned. Tests start it where tools run, or where many have to run at once.
import {parseCidr} from '../../lib/ip/cidr.ts';
import {checkMasquerade, ensureMasquerade, gcMasquerade, removeMasquerade} from '../../lib/nat/masquerade.ts';
import type {MasqueradeBackend} from '../../lib/nat/masquerade.ts';
import {openNetfilterSocket} from '../../lib/netlink/nft/socket.ts';

/** One call; addresses as text. `keep` is the containers whose eth0 a GC keeps. */
export interface DriverCall {
  readonly verb: 'ensure' | 'check' | 'remove' | 'gc';
  readonly containerId?: string;
  readonly ifName?: string;
  readonly ips?: readonly string[];
  readonly backend?: MasqueradeBackend;
  readonly keep?: readonly string[];
}

export const network = 'mynet';

async function run({verb, containerId = '', ifName = 'eth0', ips, backend, keep = []}: DriverCall) {
  const owner = {network, containerId, ifName};
  const cidrs = ips?.map((text) => parseCidr(text)!);
  const wanted = {owner, ips: cidrs ?? []};
  using nft = openNetfilterSocket();
  const host = {nft};
  switch (verb) {
    case 'ensure':
      return await ensureMasquerade(host, wanted, {backend});
    case 'check':
      return await checkMasquerade(host, wanted, {backend});
    case 'remove':
      return await removeMasquerade(host, owner, {ips: cidrs});
    case 'gc':
      return await gcMasquerade(
        host,
        network,
        keep.map((id) => ({containerId: id, ifName})),
      );
  }
}

if (import.meta.main) {
  const results: unknown[] = [];
  for (const call of JSON.parse(process.argv[2] ?? '[]') as DriverCall[])
    results.push((await run(call)) ?? null);
  console.log(JSON.stringify(results));
}
