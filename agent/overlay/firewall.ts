import {describeFailure} from '../../lib/cni/failure.ts';
import type {Host} from '../../lib/host.ts';
import {listRules} from '../../lib/netlink/nft/rule.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {ensureRuleset, type RulesetState} from '../../lib/overlay/ensure-ruleset.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import {rulesetTable} from '../../lib/overlay/ruleset.ts';
import type {Desired} from '../../lib/overlay/state.ts';
import type {OverlayNetworkConf} from './conf.ts';

/** Networks of this host that shall not reach each other. */
export type Neighbours = () => readonly Pick<OverlayNetwork, 'name' | 'ranges'>[];

// The host's own FORWARD is in a table of this name, where it is one of iptables-nft.
const foreignTable = 'filter';

/** What a network needs of nftables: who may send to the tunnel, and what leaves it masqueraded. */
export class Firewall {
  readonly #host: Pick<Host, 'nft'>;
  readonly #conf: OverlayNetworkConf;
  readonly #neighbours: Neighbours;
  #state: RulesetState | undefined;
  #error: string | undefined;
  #isMissing = false;

  constructor(host: Pick<Host, 'nft'>, conf: OverlayNetworkConf, neighbours: Neighbours) {
    this.#host = host;
    this.#conf = conf;
    this.#neighbours = neighbours;
  }

  /** Why it is not as it should be. */
  get error(): string | undefined {
    return this.#error;
  }

  /** The kernel has no nftables: the plugin has to masquerade by other means, and nobody filters. */
  get isMissing(): boolean {
    return this.#isMissing;
  }

  /** Whether a change of this table may have to be set right. */
  isOwn(table: string): boolean {
    return table === foreignTable || table === rulesetTable(this.#conf.name).table;
  }

  /** Makes it what it shall be; an error is kept, not thrown. Tells what it did. `through`: devices that encrypt. */
  async ensure(desired: Desired, through?: readonly string[]): Promise<RulesetState['did']> {
    const {masquerade, filter, exemptDestinations, forwardMark} = this.#conf;
    const options = {
      filter,
      ...(masquerade && {masquerade: {exempt: exemptDestinations}}),
      ...(forwardMark !== 0 && {forwardMark}),
      apartFrom: this.#neighbours(),
      through,
    };
    try {
      this.#state = await ensureRuleset(this.#host.nft, desired, options, this.#state);
      this.#error = undefined;
      this.#isMissing = false;
      return this.#state.did;
    } catch (error) {
      this.#state = undefined;
      this.#isMissing = isMissingNftables(error);
      this.#error = this.#isMissing ? undefined : `nftables: ${describeFailure(error)}`;
      return 'nothing';
    }
  }

  /** How many packets of strangers were dropped since the rules were made. */
  async countDrops(): Promise<number> {
    if (this.#state === undefined || !this.#conf.filter) return 0;
    const rules = await listRules(this.#host.nft, {...rulesetTable(this.#conf.name), chain: 'from-underlay'});
    for (const {expressions} of rules)
      for (const {name, data} of expressions) if (name === 'counter') return Number(data.packets ?? 0n);
    return 0;
  }
}
