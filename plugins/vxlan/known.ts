import type {Call} from '../../lib/cni/plugin.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import {findKey} from '../../lib/cni/shape.ts';
import type {JsonObject} from '../../lib/cni/types.ts';
import {subnetOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {findOverlayState} from '../../lib/overlay/state-file.ts';
import {readSubnetFile} from '../../lib/overlay/subnet-file.ts';
import {findPlaces, findTemplate} from './conf.ts';
import {renderDelegate} from './render.ts';
import type {HostNetwork} from './render.ts';
import {findRecord, readHost} from './static/record.ts';

/**
 * What can be known of this host's network without complaint, for a DEL or a GC: delegates of others do not take a
 * configuration without subnets. From the previous result, or else from what `findHostNetwork` finds.
 */
export function findKnownNetwork(call: Call): HostNetwork | undefined {
  const found = findHostNetwork(call);
  const subnets = ownSubnets(call);
  if (subnets.length === 0) return found;
  // Masquerading: removing what is not there does no harm.
  const nothing: HostNetwork = {form: 'routed', networks: subnets, subnets, mtu: 0, ipMasq: true};
  return {...(found ?? nothing), form: 'routed', subnets};
}

/** Addresses of other interfaces are of other networks. */
function ownSubnets(call: Call): readonly Cidr[] {
  const previous = findPrevResult(call);
  const own = previous?.ips.filter(({interface: index}) => {
    return index === undefined || previous.interfaces[index]?.name === call.ifName;
  });
  return own?.map(({address}) => subnetOf(address)) ?? [];
}

type ConfCall = Pick<Call, 'conf' | 'name'>;

/** By the subnet file, or where the hosts are listed, by what the last ADD wrote down. */
function findHostNetwork(call: ConfCall): HostNetwork | undefined {
  const {subnetFile, ...places} = findPlaces(call);
  try {
    if (findKey(call.conf, 'static') !== undefined) {
      const record = findRecord(places);
      return record && readHost(record.host);
    }
    const {ipMasq, ...file} = readSubnetFile(subnetFile);
    const state = findOverlayState({subnetFile, network: places.network}, places.runDir);
    return {form: state?.form ?? 'routed', ...file, ipMasq: !ipMasq, bridge: state?.bridge};
  } catch {
    return undefined;
  }
}

/** The delegate's configuration as far as it is known now: for those who look at a network from outside. */
export function findDelegateConf(call: ConfCall): JsonObject | undefined {
  const template = findTemplate(call);
  return template && renderDelegate(template, findHostNetwork(call));
}
