import type {Host} from '../../lib/host.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import {removeLink} from '../../lib/netlink/route/link.ts';
import {applyOperations} from '../../lib/overlay/apply.ts';
import {ensureDevice, listOverlayDevices} from '../../lib/overlay/ensure-device.ts';
import {observeOverlay} from '../../lib/overlay/observe.ts';
import type {Operation} from '../../lib/overlay/operation.ts';
import {assumeActual, planOverlay, type Plan} from '../../lib/overlay/plan.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import type {Backoff} from './backoff.ts';
import {findDelta} from './delta.ts';

/** What a pass did to the kernel, and what it could not. */
export interface Synced {
  /** A `delta` took what the last pass left for granted. */
  readonly kind: 'full' | 'delta';
  readonly devices: ReadonlyMap<string, number>;
  /** What was done to devices, in words. */
  readonly deviceChanges: readonly string[];
  readonly operations: readonly Operation[];
  /** What the kernel refused, now or a moment ago: then it is put off. */
  readonly failed: readonly {
    readonly peer: string | undefined;
    readonly operation: Operation;
    readonly error: string;
  }[];
  readonly obstacles: Plan['obstacles'];
  /** Why a device could not be made what it shall be. */
  readonly deviceErrors: readonly string[];
}

type DatapathHost = Pick<Host, 'rt' | 'sysctl'>;

/** Does something while nobody listens to what the kernel tells of it. */
export type Quietly = <T>(work: () => Promise<T>) => Promise<T>;

// To hear of more changes of our own costs more than to compare everything once more.
const mostHeard = 1000;
// A device that vanishes while it is worked on is made again at once, but not for ever.
const attempts = 3;

/** The kernel's side of one network: brings it from what it is to what is desired. */
export class Datapath {
  readonly #host: () => DatapathHost;
  readonly #backoff: Backoff;
  readonly #quietly: Quietly;
  /** What the kernel has, unless somebody changed it: only after a pass without any failure. */
  #applied: {readonly desired: Desired; readonly devices: ReadonlyMap<string, number>} | undefined;

  constructor(host: () => DatapathHost, backoff: Backoff, quietly: Quietly) {
    this.#quietly = quietly;
    this.#host = host;
    this.#backoff = backoff;
  }

  /** Does what follows from a change of peers without asking the kernel; `undefined` when it has to be asked. */
  async syncDelta(desired: Desired): Promise<Synced | undefined> {
    if (!this.#applied) return undefined;
    const {desired: before, devices} = this.#applied;
    const delta = findDelta(before, desired);
    if (!delta) return undefined;
    const actual = assumeActual({...before, peers: delta.before}, {devices});
    const {operations, obstacles} = planOverlay({...desired, peers: delta.after}, actual);
    const result = await this.#apply(operations);
    if (result.deviceGone) return undefined;
    return this.#settle(desired, {
      kind: 'delta',
      devices,
      deviceChanges: [],
      deviceErrors: [],
      obstacles,
      ...result,
    });
  }

  /** Compares everything with the kernel and sets right what differs. */
  async syncAll(desired: Desired): Promise<Synced> {
    const deviceChanges: string[] = [];
    for (let attempt = 1; ; attempt++) {
      this.#applied = undefined;
      const deviceErrors = await this.#syncDevices(desired, deviceChanges);
      const actual = await observeOverlay(this.#host().rt, desired);
      const {operations, obstacles} = planOverlay(desired, actual);
      const result = await this.#apply(operations);
      if (result.deviceGone && attempt < attempts) continue;
      const {devices} = actual;
      return this.#settle(desired, {
        kind: 'full',
        devices,
        deviceChanges,
        deviceErrors,
        obstacles,
        ...result,
      });
    }
  }

  async #syncDevices({devices, network}: Desired, changes: string[]): Promise<string[]> {
    const host = this.#host();
    const errors: string[] = [];
    const names = new Set(devices.map(({name}) => name));
    for (const stale of await listOverlayDevices(host.rt, network.name)) {
      if (names.has(stale.name)) continue;
      await removeLink(host.rt, {ifindex: stale.ifindex});
      changes.push(`${stale.name} removed: the network does not use it`);
    }
    for (const spec of devices) {
      try {
        const {outcome, what} = await ensureDevice(host, spec);
        if (outcome !== 'kept') changes.push(`${spec.name} ${outcome}: ${what}`);
      } catch (error) {
        errors.push(describeFailure(error));
      }
    }
    return errors;
  }

  async #apply(planned: readonly Operation[]) {
    const now = performance.now();
    const isWaiting = ({peer = ''}: Operation) => this.#backoff.isWaiting(peer, now);
    const [waiting, operations] = [planned.filter(isWaiting), planned.filter((each) => !isWaiting(each))];
    const apply = () => applyOperations(this.#host().rt, operations);
    const applied = await (operations.length > mostHeard ? this.#quietly(apply) : apply());
    const failed = applied.failed.map(({operation, error}) => ({
      peer: operation.peer,
      operation,
      error: error.message,
    }));
    // Without its device nothing of it can succeed: no fault of the peers.
    const failedPeers = new Map(applied.deviceGone ? [] : failed.map(({peer, error}) => [peer ?? '', error]));
    for (const [peer, error] of failedPeers) this.#backoff.fail(peer, error);
    for (const {peer = ''} of operations) if (!failedPeers.has(peer)) this.#backoff.succeed(peer);
    const peers = new Set(planned.map(({peer}) => peer ?? ''));
    // What is put off has failed, and still does.
    const before = waiting.map((operation) => ({
      peer: operation.peer,
      operation,
      error: this.#backoff.errorOf(operation.peer ?? '') ?? '',
    }));
    return {operations, failed: [...failed, ...before], peers, deviceGone: applied.deviceGone};
  }

  #settle(
    desired: Desired,
    {
      deviceGone,
      peers,
      ...synced
    }: Synced & {readonly deviceGone: boolean; readonly peers: ReadonlySet<string>},
  ): Synced {
    const isWhole =
      !deviceGone && synced.failed.length + synced.obstacles.length + synced.deviceErrors.length === 0;
    this.#applied = isWhole ? {desired, devices: synced.devices} : undefined;
    // Who needs nothing done any more has nothing to be tried again for.
    if (synced.kind === 'full') this.#backoff.keep(peers);
    return synced;
  }
}
