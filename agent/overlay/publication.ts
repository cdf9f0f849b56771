import type {Logger} from '../../lib/log.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import type {Cidr} from '../../lib/ip/cidr.ts';
import {publishState, publishSubnets, withdrawOtherSubnets, type Places, type Published} from './publish.ts';

/** What works, when it does. */
export interface Working {
  readonly network: OverlayNetwork;
  readonly subnets: readonly Cidr[];
  readonly mtu: number;
  readonly masquerade: boolean;
  readonly bridge: string | undefined;
}

/** Tells the CNI plugin, by files, whether containers can be made, and with what. */
export class Publication {
  readonly #places: Places;
  readonly #log: Logger;
  readonly #startGraceMs: number;
  readonly #startedAt = performance.now();
  #wasReady = false;
  #published: Published | undefined;

  constructor(places: Places, {log, startGraceMs}: {readonly log: Logger; readonly startGraceMs: number}) {
    this.#places = places;
    this.#log = log;
    this.#startGraceMs = startGraceMs;
  }

  /** What was published last. */
  get published(): Published | undefined {
    return this.#published;
  }

  /** Before anything of these subnets is in the kernel: no container must get an address of others any more. */
  withdrawOther(subnets: readonly Cidr[]): void {
    if (withdrawOtherSubnets(this.#places, subnets))
      this.#log.warn('this host has other subnets now; the subnet file was removed');
  }

  /** `working` is given only when there is no reason. */
  publish(reasons: readonly string[], working: Working | undefined): void {
    if (working) {
      this.#wasReady = true;
      this.#published = working;
      if (publishSubnets(this.#places, working))
        this.#log.info({file: this.#places.subnetFile}, 'subnet file written');
    }
    // An agent that takes over from another one has a moment to find out that all is well.
    const isStarting = !this.#wasReady && performance.now() - this.#startedAt < this.#startGraceMs;
    if (isStarting && !working) return;
    publishState(this.#places, {reasons, published: this.#published});
  }
}
