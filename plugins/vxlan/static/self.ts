import {hostname} from 'node:os';
import {CniError, errorCodes} from '../../../lib/cni/error.ts';
import {formatIp, sameIp} from '../../../lib/ip/address.ts';
import type {Member} from '../../../lib/overlay/member.ts';
import type {StaticNetwork} from '../../../lib/overlay/static-file.ts';
import type {Address} from '../../../lib/netlink/route/address.ts';

/** Which of the hosts this one is. */
export interface Identity {
  readonly self: Member;
  readonly peers: readonly Member[];
}

/** By the name in the configuration, or else by the host's own, or else by an address. Throws CniError 7. */
export function findSelf(
  {members}: StaticNetwork,
  {node, addresses}: {readonly node: string | undefined; readonly addresses: readonly Address[]},
): Identity {
  const name = node ?? hostname();
  const named = members.find(({id}) => id === name);
  const self = named ?? (node === undefined ? findByAddress(members, addresses) : undefined);
  if (self) return {self, peers: members.filter((member) => member !== self)};
  const listed = members
    .slice(0, 5)
    .map(({id}) => id)
    .join(', ');
  const all = `${listed}${members.length > 5 ? ', ...' : ''}`;
  throw new CniError(
    errorCodes.invalidConfig,
    node === undefined
      ? `"static" lists neither a node "${name}" nor one with an address of this host`
      : `"static" lists no node "${node}"`,
    `listed are ${all}; add this host, or say with the key "node" which of them it is`,
  );
}

function findByAddress(members: readonly Member[], addresses: readonly Address[]): Member | undefined {
  return members.find(({underlay}) => underlay.some((ip) => addresses.some((own) => sameIp(own.ip, ip))));
}

/** "192.168.50.11", or both, for errors. */
export function listUnderlay({underlay}: Member): string {
  return underlay.map(formatIp).join(' and ');
}
