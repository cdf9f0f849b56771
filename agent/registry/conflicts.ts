import {familyOf, parseIp} from '../../lib/ip/address.ts';
import {containsIp, type Cidr} from '../../lib/ip/cidr.ts';
import type {Collection} from '../catalog/collection.ts';
import {isEarlier, type ServiceDefinition} from '../catalog/model.ts';
import {chooseAddress} from './addresses.ts';

/** A service of this host at an address of an earlier one, and what becomes of it: itself where there is nothing to be done. */
export interface Conflict {
  readonly before: ServiceDefinition;
  readonly after: ServiceDefinition;
  readonly address: string;
  /** Whose the address is. */
  readonly owner: string;
}

/** Finds the conflicts of this host's services, and solves those whose addresses were chosen from the ranges. */
export function planAddresses(
  services: Collection<ServiceDefinition>,
  ranges: readonly Cidr[],
): readonly Conflict[] {
  const owners = new Map<string, ServiceDefinition>();
  for (const service of services.list()) {
    for (const address of service.addresses) {
      const owner = owners.get(address);
      if (owner === undefined || isEarlier(service, owner)) owners.set(address, service);
    }
  }
  const taken = new Set(owners.keys());
  return services.list('local').flatMap((before): Conflict[] => {
    const lost = before.addresses.find((address) => owners.get(address) !== before);
    if (lost === undefined) return [];
    const addresses = before.addresses.map((address) =>
      owners.get(address) === before ? address : (replace(before, address, {ranges, taken}) ?? address),
    );
    const isSame = addresses.every((address, i) => address === before.addresses[i]);
    const now = Math.max(Date.now(), (before.updatedAt ?? 0) + 1);
    const after = isSame ? before : {...before, addresses, addressedAt: now, updatedAt: now};
    return [{before, after, address: lost, owner: owners.get(lost)!.key}];
  });
}

function replace(
  {key, isAddressChosen}: ServiceDefinition,
  address: string,
  {ranges, taken}: {readonly ranges: readonly Cidr[]; readonly taken: Set<string>},
): string | undefined {
  const range = isAddressChosen === true ? ranges.find((each) => isIn(each, address)) : undefined;
  const other = range && chooseAddress(range, key, taken);
  if (other !== undefined) taken.add(other);
  return other;
}

function isIn(range: Cidr, text: string): boolean {
  const ip = parseIp(text);
  return ip !== undefined && familyOf(ip) === familyOf(range.ip) && containsIp(range, ip);
}
