import type {Desired} from '../../lib/overlay/state.ts';
import type {MembershipState, Snapshot} from '../membership/membership.ts';
import type {Synced} from './datapath.ts';

/** What readiness depends on. */
export interface Readiness {
  readonly membership: MembershipState;
  readonly snapshot: Snapshot | undefined;
  readonly underlayError: string | undefined;
  readonly desired: Desired | undefined;
  readonly synced: Synced | undefined;
  readonly firewallError: string | undefined;
  readonly passError: string | undefined;
}

/**
 * Why no container can be made, as sentences: without a device, without a subnet of its own, before the first look at the
 * hosts, while the kernel is not as it should be, in a conflict. A source that does not answer is no reason: what it
 * said last stands.
 */
export function findReasons(facts: Readiness): readonly string[] {
  const {membership, snapshot, underlayError, desired, synced, firewallError, passError} = facts;
  const {deviceErrors = [], failed = []} = synced ?? {};
  const self = snapshot?.self;
  const failedPeers = new Set(failed.map(({peer}) => peer ?? ''));
  return [
    underlayError && `underlay: ${underlayError}`,
    !snapshot && `nothing is known of its hosts yet${because(membership)}`,
    snapshot && !self && `this host has no subnet yet${because(membership)}`,
    membership.kind === 'conflict' && `conflict${because(membership)}`,
    ...deviceErrors,
    failedPeers.size > 0 &&
      `${failedPeers.size} of ${desired?.peers.length ?? 0} peers could not be programmed: ${failed[0]?.error}`,
    firewallError,
    passError,
    self && !synced && !passError && 'the kernel was not looked at yet',
  ].filter((reason) => typeof reason === 'string');
}

function because({reason}: MembershipState): string {
  return reason === undefined ? '' : `: ${reason}`;
}
