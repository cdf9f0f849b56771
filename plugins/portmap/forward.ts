import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {isOwnTag} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp, ipBytes} from '../../lib/ip/address.ts';
import {ensureEntries} from '../../lib/nat/entries.ts';
import type {Entry} from '../../lib/nat/entries.ts';
import type {RuledChain} from '../../lib/nat/table.ts';
import {findElement} from '../../lib/netlink/nft/element.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {formatValue} from '../../lib/netlink/nft/set-type.ts';
import {sameVerdict} from '../../lib/netlink/nft/verdict.ts';
import type {Forward} from './mapping.ts';
import {
  baseChains,
  interfaceSet,
  keyOfMapping,
  kindOf,
  ownerSet,
  planChains,
  portmapTables,
  targetData,
  targetMap,
  verdictMap,
} from './rules.ts';
import type {ForwardOptions} from './rules.ts';
import {ownerHash, parsePortmapTag, portmapTag} from './tag.ts';

/** What an attachment wants forwarded. */
export interface Forwarding extends ForwardOptions {
  readonly owner: Owner;
  readonly forwards: readonly Forward[];
  /** The host's end of the attachment. */
  readonly device: string | undefined;
  /** The host's interface towards the container, if it is to be reached from 127.0.0.1. */
  readonly localInterface: string | undefined;
}

type NftHost = Pick<Host, 'nft' | 'rt'>;

/** An element of a mapping; `forward` is missing for what several mappings share. */
export interface ForwardEntry extends Entry {
  readonly forward?: Forward;
}

/** The elements of an attachment, and the chains they lead to. */
export function planEntries(wanted: Forwarding): {entries: ForwardEntry[]; chains: RuledChain[]} {
  const {owner, forwards, device, localInterface} = wanted;
  const comment = portmapTag(owner, device);
  const chains = new Map<string, RuledChain>();
  const entries: ForwardEntry[] = [];
  for (const forward of forwards) {
    const kind = kindOf(forward);
    const key = keyOfMapping(forward);
    const planned = planChains(forward, wanted);
    for (const chain of planned) chains.set(chain.chain, chain);
    const verdict = {kind: 'jump', chain: planned.at(-1)!.chain} as const;
    entries.push(
      {map: verdictMap(kind, forward.family), element: {key, verdict, comment}, forward},
      {map: targetMap(kind, forward.family), element: {key, data: targetData(forward), comment}, forward},
    );
  }
  const ports = entries.length / 2;
  entries.push({
    map: ownerSet,
    element: {key: ownerHash(owner), comment: portmapTag(owner, device, {ports})},
  });
  if (localInterface !== undefined) {
    entries.push({map: interfaceSet, element: {key: interfaceKey(localInterface)}, shared: true});
  }
  return {entries, chains: [...chains.values()]};
}

export function interfaceKey(name: string): Buffer {
  const key = Buffer.alloc(16);
  key.write(name);
  return key;
}

/**
 * Forwards the ports: one transaction on a host where it was done before. A port that another attachment holds is an error,
 * unless that is gone. Throws NetlinkErrors as they come.
 */
export async function ensureForwarding(host: NftHost, wanted: Forwarding): Promise<void> {
  const {entries, chains} = planEntries(wanted);
  await ensureEntries(host.nft, {
    entries,
    tables: portmapTables,
    chains: [...baseChains, ...chains],
    async onTaken({element, forward}, found) {
      if (isOwnTag(found.comment, wanted.owner)) return sameElement(element, found) ? 'keep' : 'replace';
      if (!forward || (await isLeftBehind(host, forward, found))) return 'replace';
      throw portTaken(forward, found);
    },
  });
}

function sameElement(wanted: Element, found: Element): boolean {
  if (wanted.comment !== found.comment) return false;
  if (wanted.verdict) return sameVerdict(found.verdict, wanted.verdict);
  return Buffer.compare(wanted.data ?? Buffer.alloc(0), found.data ?? Buffer.alloc(0)) === 0;
}

/** Whether the attachment that holds a port is gone: its address is now ours, or the host's end of it is not there. */
async function isLeftBehind(host: NftHost, forward: Forward, found: Element): Promise<boolean> {
  const map = targetMap(kindOf(forward), forward.family);
  const data = found.data ?? (await findElement(host.nft, map, found.key))?.data;
  const address = ipBytes(forward.container.ip);
  if (data && Buffer.compare(address, data.subarray(0, address.length)) === 0) return true;
  const device = parsePortmapTag(found.comment ?? '')?.device;
  return device !== undefined && (await findLink(host.rt, {name: device})) === undefined;
}

function portTaken({hostPort, protocol, hostIp, family}: Forward, found: Element): CniError {
  const port = `port ${hostPort}/${protocol}`;
  const where = hostIp ? `${port} of ${formatIp(hostIp)}` : port;
  const holder = parsePortmapTag(found.comment ?? '');
  const map = verdictMap(kindOf({hostIp}), family);
  const free = `nft "delete element inet weft ${map.set} { ${formatValue(map.key, found.key)} }"`;
  const {containerId = '', network = '', ifName = ''} = holder ?? {};
  return new CniError(
    errorCodes.internal,
    holder
      ? `host ${where} is already mapped to container "${containerId}" of network "${network}" (${ifName})`
      : `host ${where} is already mapped by somebody else ("${found.comment ?? ''}")`,
    `choose another host port or remove what holds it; if that is gone without a trace: ${free}`,
  );
}
