import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {findKey} from '../../lib/cni/shape.ts';
import {parseCidr, formatCidr, sameCidr, subnetOf} from '../../lib/ip/cidr.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {segmentBridgeName} from '../../lib/overlay/segment-bridge.ts';
import {findOverlayState} from '../../lib/overlay/state-file.ts';
import type {OverlayState} from '../../lib/overlay/state-file.ts';
import {readSubnetFile, SubnetFileError} from '../../lib/overlay/subnet-file.ts';
import type {SubnetFile} from '../../lib/overlay/subnet-file.ts';
import type {VxlanConf} from './conf.ts';
import type {HostNetwork} from './render.ts';

/**
 * What the agent says this host has: its subnet file, and its state where it is weft's. Throws CniError 11, "try again later":
 * while there is no file, while the agent is not ready, and when the two do not agree; 7 for a file that makes no sense.
 */
export function readHostNetwork(conf: VxlanConf): HostNetwork {
  const state = findOverlayState(conf, conf.runDir);
  // First, because it says why there is no subnet file.
  if (state && !state.ready) throw notReady(state);
  const file = readFile(conf.subnetFile, state);
  if (state) checkAgreement(conf, file, state);
  const {networks, subnets, mtu, ipMasq} = file;
  const form = conf.form ?? state?.form ?? 'routed';
  return {
    form,
    networks,
    subnets,
    mtu,
    ipMasq: !ipMasq,
    bridge: bridgeOf(conf, form, state),
  };
}

/** Of an `l2` network: the agent's, which has the tunnel as a port. */
function bridgeOf({template}: VxlanConf, form: HostNetwork['form'], state: OverlayState | undefined) {
  if (form === 'routed') return undefined;
  const bridge = state?.bridge ?? (state?.vni === undefined ? undefined : segmentBridgeName(state.vni));
  if (bridge === undefined) {
    throw new CniError(
      errorCodes.invalidConfig,
      '"form" is "l2", but no agent says which bridge has the tunnel',
      'flanneld has no such form; weft agent has (docs/membership.md), or list the hosts in "static"',
    );
  }
  const named = findKey(template.delegate, 'bridge');
  if (named === undefined || named === bridge) return bridge;
  throw new CniError(
    errorCodes.invalidConfig,
    `delegate.bridge is ${JSON.stringify(named)}, but the agent's tunnel is a port of "${bridge}"`,
    'leave "bridge" out',
  );
}

function readFile(path: string, state: OverlayState | undefined): SubnetFile {
  try {
    return readSubnetFile(path);
  } catch (error) {
    if (!(error instanceof SubnetFileError)) throw error;
    if (!error.isMissing) {
      throw new CniError(
        errorCodes.invalidConfig,
        error.message,
        'the agent (flanneld, weft agent) writes it',
      );
    }
    throw new CniError(
      errorCodes.tryAgainLater,
      error.message,
      state
        ? `the agent says that network "${state.network}" is ready; is "subnetFile" its file, ${state.subnetFile}?`
        : 'the agent writes it when the node has its subnet: is flanneld, or weft agent, running (systemctl status weft-agent), ' +
            'and is "subnetFile" the file it writes? Without an agent, list the hosts in "static"',
    );
  }
}

function notReady({network, reason}: OverlayState): CniError {
  return new CniError(
    errorCodes.tryAgainLater,
    `the agent says that overlay network "${network}" is not ready${reason ? `: ${reason}` : ''}`,
    '`weft status` says more',
  );
}

/** A file that somebody else wrote, or that is from before: containers would get addresses that lead to another host. */
function checkAgreement({form, subnetFile}: VxlanConf, file: SubnetFile, state: OverlayState): void {
  const said = state.subnets.map(parseCidr).filter((cidr) => cidr !== undefined);
  if (!sameSubnets(file.subnets, said)) {
    throw new CniError(
      errorCodes.tryAgainLater,
      `${subnetFile} says that this host has ${listCidrs(file.subnets)}, the agent says ${listCidrs(said)}`,
      'the file is an old one, or not of this agent; the agent writes it anew when it is restarted (systemctl restart weft-agent)',
    );
  }
  if (form !== undefined && state.form !== undefined && form !== state.form) {
    throw new CniError(
      errorCodes.invalidConfig,
      `"form" is "${form}", but the agent's network "${state.network}" is "${state.form}"`,
      'leave "form" out, or change it in one of the two',
    );
  }
}

/** Whatever the order, and the addresses of the gateways. */
export function sameSubnets(a: readonly Cidr[], b: readonly Cidr[]): boolean {
  return (
    a.length === b.length && a.every((cidr) => b.some((other) => sameCidr(subnetOf(cidr), subnetOf(other))))
  );
}

/** "10.1.2.0/24 and fd00::/64", for errors. */
export function listCidrs(cidrs: readonly Cidr[]): string {
  return cidrs.map((cidr) => formatCidr(subnetOf(cidr))).join(' and ') || 'none';
}
