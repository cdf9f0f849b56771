import {familyOf, type Ip} from '../../lib/ip/address.ts';
import type {Logger} from '../../lib/log.ts';
import type {RouteSocket} from '../../lib/netlink/route/socket.ts';
import {sameUnderlay, type Underlay, type UnderlayChoice} from './underlay.ts';
import {findUnderlay} from './underlay-read.ts';

/** The underlay of one network, followed as it changes. */
export class UnderlayFollower {
  readonly #choice: UnderlayChoice;
  readonly #log: Logger;
  #underlay: Underlay | undefined;
  #error: string | undefined;

  constructor(choice: UnderlayChoice, log: Logger) {
    this.#choice = choice;
    this.#log = log;
  }

  /** The last that was found: what is gone goes on working, or comes back with its interface. */
  get underlay(): Underlay | undefined {
    return this.#underlay;
  }

  /** Why there is none at the moment. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Looks again; an address that the membership asks for goes before the configuration's. */
  async look(rt: RouteSocket, wanted: Ip | undefined): Promise<void> {
    const address = wanted && {ip: wanted, prefix: familyOf(wanted) === 4 ? 32 : 128};
    const choice = address ? {...this.#choice, address} : this.#choice;
    const found = await findUnderlay(rt, choice, this.#underlay);
    if (typeof found === 'string') {
      if (this.#error !== found) this.#log.warn(`underlay: ${found}`);
      this.#error = found;
      return;
    }
    this.#error = undefined;
    if (!sameUnderlay(this.#underlay, found))
      this.#log.info({interface: found.name, mtu: found.mtu}, 'underlay');
    this.#underlay = found;
  }

  /** Whether a change of this link may be one of the underlay. */
  isOfLink({
    ifindex,
    name,
    isGone,
  }: {
    readonly ifindex: number;
    readonly name: string;
    readonly isGone: boolean;
  }) {
    const isMissing = this.#underlay === undefined || this.#error !== undefined;
    return ifindex === this.#underlay?.ifindex || name === this.#choice.interface || (isMissing && !isGone);
  }

  /** Whether a change of this link's addresses may be one of the underlay. */
  isOfAddresses(ifindex: number): boolean {
    const isMissing = this.#underlay === undefined || this.#error !== undefined;
    return isMissing || ifindex === this.#underlay?.ifindex || this.#choice.address !== undefined;
  }

  /** Whether the default route decides, or some route. */
  get isByRoute(): boolean {
    const {address, interface: name, interfacePattern} = this.#choice;
    return address === undefined && name === undefined && interfacePattern === undefined;
  }
}
