import {findPrevResult} from '../cni/result.ts';
import type {Call} from '../cni/plugin.ts';
import type {Owner} from '../cni/owner.ts';
import type {Host} from '../host.ts';
import type {Cidr} from '../ip/cidr.ts';
import type {MasqueradeBackend} from './masquerade.ts';
import {planNftMasquerade} from './masquerade-nft.ts';
import {planNftRemoval} from './masquerade-removal.ts';
import {elementsPart} from './repair.ts';
import type {Part} from './repair.ts';

/** What of a plugin's configuration decides about masquerading. */
export interface MasqueradeConf {
  readonly owner: Owner;
  readonly ipMasq: boolean;
  readonly ipMasqBackend: MasqueradeBackend | undefined;
  readonly exemptDestinations: readonly Cidr[];
}

/** The masquerading of an attachment, where nftables does it. Rules of iptables are nobody's to keep but the host's. */
export function masqueradeParts(call: Call, host: Host, conf: MasqueradeConf): Part[] {
  const {owner, ipMasq, ipMasqBackend, exemptDestinations} = conf;
  const previous = findPrevResult(call);
  if (!ipMasq || ipMasqBackend === 'iptables' || !previous) return [];
  const own = previous.ips.filter(
    ({interface: index}) => index === undefined || previous.interfaces[index]?.name === call.ifName,
  );
  const ips = own.map(({address}) => address);
  if (ips.length === 0) return [];
  return [
    elementsPart(host.nft, {
      owner,
      wanted: planNftMasquerade({owner, ips, exemptDestinations}),
      planRemoval: () => planNftRemoval(host.nft, owner, ips),
    }),
  ];
}
