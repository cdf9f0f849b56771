import {errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {findTable} from '../../lib/netlink/nft/table.ts';
import {explain, warnOfForeignChains} from './backend.ts';
import {parseFirewallConf} from './conf.ts';
import {openFirewalld} from './firewalld.ts';
import {requireIptables} from './iptables.ts';
import {table} from './ruleset.ts';

/** Whether an ADD could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const {backend, mark} = parseFirewallConf(call);
  if (backend === 'iptables') return requireIptables([4, 6], call, errorCodes.notAvailable);
  if (backend === 'firewalld') (await openFirewalld(call, errorCodes.notAvailable))[Symbol.dispose]();
  try {
    await findTable(host.nft, table);
    await warnOfForeignChains(call, host, {ips: [], mark});
  } catch (error) {
    if (isMissingNftables(error) && findTool('iptables-restore', call)) return;
    throw explain(error, errorCodes.notAvailable);
  }
}
