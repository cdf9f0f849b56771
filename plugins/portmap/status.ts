import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {getGeneration} from '../../lib/netlink/nft/transaction.ts';
import {parsePortmapConf} from './conf.ts';
import {checkIptables} from './iptables.ts';
import {withBackend} from './portmap.ts';

/** Whether an ADD with mappings could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const conf = parsePortmapConf(call);
  const options = {env: call.env};
  try {
    await withBackend(conf, options, {
      // Needs nf_tables and the right to use it.
      nftables: async () => void (await getGeneration(host.nft)),
      iptables: async () => checkIptables(options),
    });
  } catch (error) {
    const details = error instanceof CniError ? error.details : '';
    throw new CniError(errorCodes.notAvailable, describeFailure(error), details);
  }
}
