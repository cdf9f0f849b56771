import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import {subnetOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {readSubnetFile} from '../../lib/overlay/subnet-file.ts';
import type {SubnetFile} from '../../lib/overlay/subnet-file.ts';
import {findPlaces} from './conf.ts';
import type {HostNetwork} from './render.ts';

/**
 * What can be known of this host's network without complaint, for a DEL or a GC: delegates of others do not take a
 * configuration without subnets. From the previous result, or else from the subnet file.
 */
export function findKnownNetwork(call: Call): HostNetwork | undefined {
  const file = findFile(findPlaces(call).subnetFile);
  const subnets = ownSubnets(call);
  const known = subnets.length > 0 ? subnets : file?.subnets;
  if (known === undefined) return undefined;
  return {
    form: 'routed',
    networks: file?.networks ?? known,
    subnets: known,
    mtu: file?.mtu ?? 0,
    // Where it is not known: removing what is not there does no harm.
    ipMasq: file ? !file.ipMasq : true,
  };
}

/** Addresses of other interfaces are of other networks. */
function ownSubnets(call: Call): readonly Cidr[] {
  const previous = findPrevResult(call);
  const own = previous?.ips.filter(({interface: index}) => {
    return index === undefined || previous.interfaces[index]?.name === call.ifName;
  });
  return own?.map(({address}) => subnetOf(address)) ?? [];
}

function findFile(path: string): SubnetFile | undefined {
  try {
    return readSubnetFile(path);
  } catch {
    return undefined;
  }
}
