import type {Host} from '../../lib/host.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import type {OverlayNetworkConf} from './conf.ts';

/** What a network needs of nftables: who may send to the tunnel, and what leaves it masqueraded. */
export class Firewall {
  #error: string | undefined;

  constructor(_host: Pick<Host, 'nft'>, _conf: OverlayNetworkConf) {}

  /** Why it is not as it should be. */
  get error(): string | undefined {
    return this.#error;
  }

  isOwn(_table: string): boolean {
    return false;
  }

  async ensure(_desired: Desired, _how: {readonly isFull: boolean}): Promise<void> {}
}
