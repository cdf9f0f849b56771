import {readdirSync, readFileSync, readlinkSync} from 'node:fs';
import type {Host} from '../../lib/host.ts';
import {isMissingNftables} from '../../lib/netlink/nft/socket.ts';
import {listChains} from '../../lib/netlink/nft/chain.ts';
import {about, type Finding} from './finding.ts';

/** flanneld beside an overlay of ours, or what it left: both would own the same device. */
export async function checkFlannel(host: Host): Promise<readonly Finding[]> {
  const {problem, warning} = about('overlay');
  const running = findProcesses('flanneld').map((pid) =>
    problem(
      `flanneld runs on this host, too (process ${pid}): each undoes what the other made`,
      'stop one of the two; docs/overlay.md says how weft takes over ("From flannel")',
    ),
  );
  if (running.length > 0) return running;
  const chains = await listChains(host.nft, {family: 'ip', table: 'nat'}).catch((error: unknown) => {
    if (isMissingNftables(error)) return [];
    throw error;
  });
  if (!chains.some(({chain}) => chain === 'FLANNEL-POSTRTG')) return [];
  return [
    warning(
      "flanneld's masquerading is still in iptables, beside that of the agent",
      "iptables -t nat -D POSTROUTING -m comment --comment 'flanneld masq' -j FLANNEL-POSTRTG; " +
        'iptables -t nat -F FLANNEL-POSTRTG; iptables -t nat -X FLANNEL-POSTRTG',
    ),
  ];
}

/** Processes of this name in our own network namespace. */
function findProcesses(name: string): readonly string[] {
  const own = readlinkSync('/proc/self/ns/net');
  return readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return (
        readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name &&
        readlinkSync(`/proc/${pid}/ns/net`) === own
      );
    } catch {
      // It has ended.
      return false;
    }
  });
}
