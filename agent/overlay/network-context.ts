import type {Host} from '../../lib/host.ts';
import type {Logger} from '../../lib/log.ts';
import type {OverlayNetwork} from '../../lib/overlay/member.ts';
import type {OverlayConf, OverlayNetworkConf} from './conf.ts';
import type {Quietly} from './datapath.ts';
import type {Neighbours} from './firewall.ts';
import type {OverlayMetrics} from './metrics.ts';

/** What one network is made with. */
export interface NetworkContext {
  readonly conf: OverlayNetworkConf;
  readonly overlay: OverlayConf;
  /** This host's name among the members. */
  readonly node: string;
  readonly host: Host;
  readonly log: Logger;
  readonly metrics: OverlayMetrics;
  /** Directory of the state files. */
  readonly runDir: string;
  /** The other networks of this host. */
  readonly neighbours: Neighbours;
  /** Those of them that are before this one in the configuration, as far as they are known. */
  readonly elders: () => readonly OverlayNetwork[];
  readonly quietly: Quietly;
  /** What the other networks are kept apart from has changed. */
  readonly onNetwork: () => void;
}
