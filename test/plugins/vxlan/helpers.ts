import {parseSubnetFile} from '../../../lib/overlay/subnet-file.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {findTemplate} from '../../../plugins/vxlan/conf.ts';
import {renderDelegate} from '../../../plugins/vxlan/render.ts';
import type {HostNetwork} from '../../../plugins/vxlan/render.ts';
import {callFor} from '../../lib/cni/helpers.ts';

/** What an agent's subnet file says. */
export function subnetFile(text: string, changes: Partial<HostNetwork> = {}): HostNetwork {
  const {ipMasq, ...file} = parseSubnetFile(text, '/f');
  return {form: 'routed', ...file, ipMasq: !ipMasq, ...changes};
}

export const flannels = `
FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_MTU=1472
FLANNEL_IPMASQ=true
`;

export const dualStack = `
FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.17.1/24
FLANNEL_IPV6_NETWORK=fc00::/48
FLANNEL_IPV6_SUBNET=fc00::1/64
FLANNEL_MTU=1472
FLANNEL_IPMASQ=true
`;

/** The delegate's configuration for a network's. */
export async function render(conf: object, host: HostNetwork | undefined): Promise<unknown> {
  const {cniVersion = null} = conf as {cniVersion?: string | null};
  const call = await callFor({name: 'mynet', type: 'flannel', ...conf, cniVersion});
  return renderDelegate(findTemplate(call)!, host);
}

export const cidrs = (...texts: readonly string[]) => texts.map((text) => parseCidr(text)!);
