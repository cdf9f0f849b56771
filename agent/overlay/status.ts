import {formatIp} from '../../lib/ip/address.ts';
import {formatCidr} from '../../lib/ip/cidr.ts';
import {formatConflict} from '../../lib/overlay/claims.ts';
import {formatOperation, type Operation} from '../../lib/overlay/operation.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import type {MembershipState, Snapshot} from '../membership/membership.ts';
import type {Backoff} from './backoff.ts';
import type {Underlay} from './underlay.ts';

/** What is known of a network at one moment. */
export interface Facts {
  readonly name: string;
  readonly form: string;
  readonly reasons: readonly string[];
  readonly membership: MembershipState & {readonly source: string};
  readonly snapshot: Snapshot | undefined;
  readonly underlay: Underlay | undefined;
  readonly desired: Desired | undefined;
  readonly devices: ReadonlyMap<string, number>;
  readonly failures: Backoff;
  readonly failed: readonly {readonly operation: Operation; readonly error: string}[];
  readonly obstacles: readonly {readonly peer: string; readonly text: string}[];
  readonly held: number;
  readonly generation: number;
  readonly mtu: number | undefined;
  readonly subnetFile: string;
}

/** A network for `/status`: plain JSON, with what differs from what is desired as commands of iproute2. */
export function describeNetwork(facts: Facts) {
  const {snapshot, underlay, desired, devices, failures, obstacles, membership} = facts;
  const names = new Map([...devices].map(([name, ifindex]) => [ifindex, name]));
  const programmed = new Set(desired?.peers.map(({peer}) => peer));
  return {
    name: facts.name,
    form: facts.form,
    ready: facts.reasons.length === 0,
    reasons: facts.reasons,
    vni: snapshot?.network.vni,
    port: snapshot?.network.port,
    ranges: snapshot?.network.ranges.map(formatCidr),
    subnets: snapshot?.self?.subnets.map(formatCidr) ?? [],
    mtu: facts.mtu,
    subnetFile: facts.subnetFile,
    membership: {source: membership.source, state: membership.kind, reason: membership.reason},
    revision: snapshot?.revision,
    generation: facts.generation,
    underlay: underlay && {
      interface: underlay.name,
      mtu: underlay.mtu,
      addresses: underlay.addresses.map(formatIp),
    },
    devices: [...devices].map(([name, ifindex]) => {
      const spec = desired?.devices.find((each) => each.name === name);
      return {name, ifindex, mac: spec?.mac, mtu: spec?.mtu};
    }),
    heldPeers: facts.held,
    peers: (snapshot?.peers ?? []).map((peer) => {
      const error = failures.errorOf(peer.id) ?? obstacles.find((each) => each.peer === peer.id)?.text;
      const conflict = desired?.conflicts.find((each) => each.peer === peer.id);
      return {
        id: peer.id,
        state:
          error !== undefined
            ? 'failed'
            : conflict
              ? 'left out'
              : programmed.has(peer.id)
                ? 'programmed'
                : 'waiting',
        ...(error !== undefined && {error}),
        ...(conflict && error === undefined && {error: formatConflict(conflict)}),
        underlay: peer.underlay.map(formatIp),
        subnets: peer.subnets.map(formatCidr),
      };
    }),
    conflicts: desired?.conflicts.map(formatConflict) ?? [],
    differs: [
      ...facts.failed.map(
        ({operation, error}) =>
          `${formatOperation(operation, (ifindex) => names.get(ifindex) ?? `#${ifindex}`)}: ${error}`,
      ),
      ...obstacles.map(({text}) => text),
    ],
  };
}
