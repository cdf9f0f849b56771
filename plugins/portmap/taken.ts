import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {isOwnTag} from '../../lib/cni/owner.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Host} from '../../lib/host.ts';
import {formatIp, ipBytes, ipFromBytes} from '../../lib/ip/address.ts';
import {findElement, listElements} from '../../lib/netlink/nft/element.ts';
import type {Element} from '../../lib/netlink/nft/element.ts';
import {formatValue} from '../../lib/netlink/nft/set-type.ts';
import {transact} from '../../lib/netlink/nft/transaction.ts';
import {findLink} from '../../lib/netlink/route/link.ts';
import {claimMap, portKey} from './claims.ts';
import type {Forward} from './mapping.ts';
import {planKeyRemoval} from './removal.ts';
import {keyOfMapping, targetMap, verdictMap} from './rules.ts';
import type {Kind} from './rules.ts';
import {parsePortmapTag} from './tag.ts';

type NftHost = Pick<Host, 'nft' | 'rt'>;

/** An element where a mapping wants to be. */
export interface Obstacle {
  readonly forward: Forward;
  readonly found: Element;
  /** The map that it is in. */
  readonly kind: Kind;
}

/**
 * Throws CniError where the attachment that holds a port is alive; else removes its mapping, so that nothing of it stays in
 * the way of anybody.
 */
export async function requireFree(host: NftHost, obstacle: Obstacle): Promise<void> {
  const {forward, found, kind} = obstacle;
  const {family} = forward;
  const holder = await findElement(host.nft, verdictMap(kind, family), found.key);
  // Without the element that leads there the others of a mapping are what is left of one.
  const isHeld = holder !== undefined && holder.comment === found.comment;
  if (isHeld && !(await isLeftBehind(host, obstacle))) throw portTaken(obstacle);
  await removeMappings(host, [{kind, family, key: found.key, comment: found.comment}]);
}

/**
 * As `requireFree`, for a port of all addresses where there are mappings for some: all of those are looked at, which is what
 * a conflict costs.
 */
export async function requireNoClaims(
  host: NftHost,
  {owner, forward}: {readonly owner: Owner; readonly forward: Forward},
): Promise<void> {
  const {family} = forward;
  const port = keyOfMapping({...forward, hostIp: undefined});
  const claims = (await listElements(host.nft, claimMap(family))).filter(({key}) =>
    portKey(key).equals(port),
  );
  const others = claims.filter(({comment}) => !isOwnTag(comment, owner));
  for (const {key, comment} of others) {
    const found = await findElement(host.nft, verdictMap('host', family), key);
    if (found === undefined || found.comment !== comment) continue;
    const hostIp = ipFromBytes(Buffer.from(key).subarray(0, -8));
    const obstacle: Obstacle = {forward: {...forward, hostIp}, found, kind: 'host'};
    if (!(await isLeftBehind(host, obstacle))) throw portTaken(obstacle);
  }
  await removeMappings(
    host,
    others.map(({key, comment}) => ({kind: 'host', family, key, comment})),
  );
}

async function removeMappings(host: NftHost, keys: Parameters<typeof planKeyRemoval>[1]): Promise<void> {
  if (keys.length > 0) await transact(host.nft, () => planKeyRemoval(host.nft, keys));
}

/** Whether the attachment that holds a port is gone: its address is now ours, or the host's end of it is not there. */
async function isLeftBehind(host: NftHost, {forward, found, kind}: Obstacle): Promise<boolean> {
  const map = targetMap(kind, forward.family);
  const data = found.data ?? (await findElement(host.nft, map, found.key))?.data;
  const address = ipBytes(forward.container.ip);
  if (data && Buffer.compare(address, data.subarray(0, address.length)) === 0) return true;
  const device = parsePortmapTag(found.comment ?? '')?.device;
  return device !== undefined && (await findLink(host.rt, {name: device})) === undefined;
}

function portTaken({forward, found, kind}: Obstacle): CniError {
  const {hostPort, protocol, hostIp, family} = forward;
  const port = `port ${hostPort}/${protocol}`;
  const where = kind === 'host' && hostIp ? `${port} of ${formatIp(hostIp)}` : port;
  const holder = parsePortmapTag(found.comment ?? '');
  const map = verdictMap(kind, family);
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
