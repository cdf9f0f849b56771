import {isOwnTag} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {checkChain} from '../../lib/nat/table.ts';
import {findElement} from '../../lib/netlink/nft/element.ts';
import {sameVerdict} from '../../lib/netlink/nft/verdict.ts';
import {findTool} from '../../lib/nat/iptables-command.ts';
import type {IptablesOptions} from '../../lib/nat/iptables-command.ts';
import {parsePortmapConf} from './conf.ts';
import type {PortmapConf} from './conf.ts';
import {planEntries} from './forward.ts';
import type {ForwardEntry, Forwarding} from './forward.ts';
import {checkIptables, checkIptablesForwarding} from './iptables.ts';
import {formatMapping} from './listeners.ts';
import type {Forward} from './mapping.ts';
import {hasReferenceForwards} from './reference-nft.ts';
import {routeLocalnetSysctl} from './localnet.ts';
import {
  findLocalInterface,
  planForwarding,
  planIptablesForwardings,
  planOwnForwards,
  withBackend,
} from './portmap.ts';
import {baseChains} from './rules.ts';

/** Compares what an ADD made with what is there; throws everything that is missing or different. */
export async function check(call: Call, host: Host): Promise<void> {
  const conf = parsePortmapConf(call);
  if (!conf.previous) throw new Error('Required prevResult missing');
  const forwards = planOwnForwards(call, conf);
  if (forwards.length === 0) return;
  const localInterface = await findLocalInterface(host, conf, forwards);
  const options = {env: call.env};
  const missing = await withBackend(conf, options, {
    async nftables() {
      const lacking = await checkForwarding(host, planForwarding(conf, forwards, localInterface));
      if (lacking.length === 0 || conf.backend !== undefined) return lacking;
      return (await isForwardedByReference(host, conf, {forwards, options})) ? [] : lacking;
    },
    async iptables() {
      checkIptables(options);
      return checkInIptables(conf, forwards, options);
    },
  });
  const all = [...missing, ...checkSysctl(host, localInterface)];
  if (all.length > 0) throw new Error(all.join('; '));
}

async function checkInIptables(
  conf: PortmapConf,
  forwards: readonly Forward[],
  options: IptablesOptions,
): Promise<string[]> {
  const checks = planIptablesForwardings(conf, forwards).map((wanted) =>
    checkIptablesForwarding(wanted, options),
  );
  return (await Promise.all(checks)).flat();
}

/** Of a container that was attached before the node was switched over, its rules do until its DEL. */
async function isForwardedByReference(
  host: Host,
  conf: PortmapConf,
  {forwards, options}: {readonly forwards: readonly Forward[]; readonly options: IptablesOptions},
): Promise<boolean> {
  if (await hasReferenceForwards(host.nft, conf.owner, forwards)) return true;
  if (!findTool('iptables-save', options)) return false;
  // Without support in the kernel it says an error, and there is nothing.
  const missing = await checkInIptables(conf, forwards, options).catch(() => undefined);
  return missing?.length === 0;
}

async function checkForwarding(host: Host, wanted: Forwarding): Promise<string[]> {
  const {entries, chains} = planEntries(wanted);
  // An attachment that an older release made has neither claims nor markers, and works.
  const needed = entries.filter(({role}) => role === 'mapping' || role === 'other');
  const elements = needed.map((entry) => checkEntry(host, wanted, entry));
  const rules = [...baseChains, ...chains].map((chain) => checkChain(host.nft, chain));
  return (await Promise.all([...elements, ...rules])).filter((text) => text !== undefined);
}

async function checkEntry(
  host: Host,
  {owner}: Forwarding,
  {map, element, forward}: ForwardEntry,
): Promise<string | undefined> {
  const found = await findElement(host.nft, map, element.key);
  const where = `map inet weft ${map.set}`;
  if (!forward) return found ? undefined : `set inet weft ${map.set} lacks an element of this container`;
  const port = formatMapping(forward);
  if (!found) return `port ${port} is not forwarded: ${where} lacks it`;
  if (!isOwnTag(found.comment, owner)) {
    return `port ${port} belongs to another attachment in ${where}: "${found.comment ?? ''}"`;
  }
  const same = element.verdict
    ? sameVerdict(found.verdict, element.verdict)
    : Buffer.compare(element.data!, found.data ?? Buffer.alloc(0)) === 0;
  return same ? undefined : `port ${port} leads elsewhere in ${where} than it should`;
}

function checkSysctl(host: Host, localInterface: string | undefined): string[] {
  if (localInterface === undefined) return [];
  const name = routeLocalnetSysctl(localInterface);
  if (host.sysctl.read(name) === '1') return [];
  return [`127.0.0.1 does not reach the container: ${name.replaceAll('/', '.')} is not 1`];
}
