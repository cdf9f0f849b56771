import {isOwnTag, ownerTag} from '../cni/owner.ts';
import type {Owner} from '../cni/owner.ts';
import {familyOf, formatIp, ipBytes} from '../ip/address.ts';
import type {Ip} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';
import {findElement} from '../netlink/nft/element.ts';
import type {Element} from '../netlink/nft/element.ts';
import type {NetfilterSocket} from '../netlink/nft/socket.ts';
import {sameVerdict} from '../netlink/nft/verdict.ts';
import type {Verdict} from '../netlink/nft/verdict.ts';
import {ensureEntries} from './entries.ts';
import type {Entry, Wanted} from './entries.ts';
import {addressMaps, baseChain, planExceptChain, tableOperations} from './masquerade-rules.ts';
import {checkChain} from './table.ts';
import type {RuledChain} from './table.ts';

/** What one attachment wants masqueraded. */
export interface Masquerade {
  readonly owner: Owner;
  /** Its addresses with the prefix of their subnet, which is exempt. */
  readonly ips: readonly Cidr[];
  /** Destinations that see the container's own address, besides its subnet and multicast. */
  readonly exemptDestinations?: readonly Cidr[];
}

const maxCommentBytes = 128;

/** One address: what its element is to say, and where it goes. */
interface AddressEntry extends Entry {
  readonly ip: Ip;
  readonly element: Element & {readonly verdict: Verdict};
  readonly chain: RuledChain;
}

function planEntries({owner, ips, exemptDestinations}: Masquerade): AddressEntry[] {
  const comment = ownerTag(owner, maxCommentBytes);
  const entries = ips.map((cidr): AddressEntry => {
    const chain = planExceptChain(cidr, exemptDestinations);
    const verdict = {kind: 'goto', chain: chain.chain} as const;
    const map = addressMaps[familyOf(cidr.ip)];
    return {ip: cidr.ip, map, element: {key: ipBytes(cidr.ip), verdict, comment}, chain};
  });
  return [...new Map(entries.map((entry) => [formatIp(entry.ip), entry])).values()];
}

/** What an attachment needs of nftables. */
export function planNftMasquerade(wanted: Masquerade): Omit<Wanted<AddressEntry>, 'onTaken'> {
  const entries = planEntries(wanted);
  return {
    entries,
    tables: tableOperations,
    chains: [baseChain, ...new Map(entries.map(({chain}) => [chain.chain, chain])).values()],
  };
}

/**
 * Masquerades by nftables: one transaction on a host where it was done before. An address that somebody else left
 * behind is taken over. Throws the NetlinkError of what was refused for another reason.
 */
export async function ensureNftMasquerade(nft: NetfilterSocket, wanted: Masquerade): Promise<void> {
  await ensureEntries(nft, {
    ...planNftMasquerade(wanted),
    // An ADD that was made twice: the address leads where it should, for the owner it should.
    onTaken: ({element}, found) =>
      isOwnTag(found.comment, wanted.owner) && sameVerdict(found.verdict, element.verdict)
        ? 'keep'
        : 'replace',
  });
}

/** What of the wanted masquerading is missing or different, one sentence each. */
export async function checkNftMasquerade(nft: NetfilterSocket, wanted: Masquerade): Promise<string[]> {
  const entries = planEntries(wanted);
  const chains = new Map(
    [baseChain, ...entries.map(({chain}) => chain)].map((chain) => [chain.chain, chain]),
  );
  const elements = entries.map(async ({ip, element}) => {
    const found = await findElement(nft, addressMaps[familyOf(ip)], element.key);
    const where = `map inet weft ${addressMaps[familyOf(ip)].set}`;
    if (!found) return [`${formatIp(ip)} is not masqueraded: ${where} lacks it`];
    if (!isOwnTag(found.comment, wanted.owner)) {
      return [`${formatIp(ip)} belongs to another attachment in ${where}: "${found.comment ?? ''}"`];
    }
    if (sameVerdict(found.verdict, element.verdict)) return [];
    return [`${formatIp(ip)} leads in ${where} to other exemptions than it should`];
  });
  const rules = [...chains.values()].map(async (chain) => (await checkChain(nft, chain)) ?? []);
  return (await Promise.all([...elements, ...rules])).flat();
}
