import {readdirSync} from 'node:fs';
import type {Host} from '../host.ts';
import {removeQuietly} from '../files.ts';
import {formatCidr} from '../ip/cidr.ts';
import {listLinks, removeLink, type Link} from '../netlink/route/link.ts';
import {listRoutes, removeRoute, type Route} from '../netlink/route/route.ts';
import {isMissingNftables} from '../netlink/nft/socket.ts';
import {listTables} from '../netlink/nft/table.ts';
import {overlayProtocol, parseDeviceAlias} from './device-spec.ts';
import {removeRuleset} from './ensure-ruleset.ts';
import {rulesetTable} from './ruleset.ts';
import {findOverlayState, overlayRunDir, removeOverlayState} from './state-file.ts';

/** All that overlay networks have left on this host. */
export interface OverlayRemains {
  /** The names of the networks that any of it says. */
  readonly networks: readonly string[];
  readonly devices: readonly Link[];
  /** Those that do not go with a device: to peers on the same segment. */
  readonly routes: readonly Route[];
  readonly tables: readonly string[];
  readonly subnetFiles: readonly string[];
}

const tablePrefix = rulesetTable('').table;

/** Finds what is there of one network, or of all. Routes without a tunnel name no network: they count only for all. */
export async function findOverlayRemains(
  {rt, nft}: Pick<Host, 'rt' | 'nft'>,
  {network, runDir = overlayRunDir}: {readonly network?: string | undefined; readonly runDir?: string} = {},
): Promise<OverlayRemains> {
  const isMeant = (name: string | undefined) => name !== undefined && (network ?? name) === name;
  const links = [...(await listLinks(rt, {kind: 'vxlan'})), ...(await listLinks(rt, {kind: 'wireguard'}))];
  const devices = links.filter(({alias}) => isMeant(parseDeviceAlias(alias)));
  const tables = (await listTables(nft, 'inet').catch(ignoreMissing)).filter(
    (name) => name.startsWith(tablePrefix) && isMeant(name.slice(tablePrefix.length)),
  );
  const states = listStates(runDir).filter(isMeant);
  const own = new Set(devices.map(({ifindex}) => ifindex));
  const routes = network === undefined ? await listRoutes(rt) : [];
  return {
    networks: [
      ...new Set([
        ...devices.map(({alias}) => parseDeviceAlias(alias)!),
        ...tables.map((name) => name.slice(tablePrefix.length)),
        ...states,
      ]),
    ].toSorted(),
    devices,
    routes: routes.filter(({protocol, ifindex}) => protocol === overlayProtocol && !own.has(ifindex ?? 0)),
    tables,
    subnetFiles: states
      .map((name) => findOverlayState({network: name, subnetFile: ''}, runDir)?.subnetFile)
      .filter((file) => file !== undefined),
  };
}

/** Removes it: first what the plugin goes by, so that no container is made meanwhile. Returns a line for each thing. */
export async function removeOverlayRemains(
  {rt, nft}: Pick<Host, 'rt' | 'nft'>,
  {networks, devices, routes, tables, subnetFiles}: OverlayRemains,
  {runDir = overlayRunDir}: {readonly runDir?: string} = {},
): Promise<void> {
  for (const file of subnetFiles) removeQuietly(file);
  for (const route of routes) await removeRoute(rt, {...route, protocol: overlayProtocol});
  for (const {ifindex} of devices) await removeLink(rt, {ifindex});
  for (const table of tables) await removeRuleset(nft, table.slice(tablePrefix.length));
  for (const network of networks) removeOverlayState(network, runDir);
}

/** One line for each thing. */
export function formatOverlayRemains({
  devices,
  routes,
  tables,
  subnetFiles,
  networks,
}: OverlayRemains): string[] {
  return [
    ...subnetFiles.map((file) => `subnet file ${file}`),
    ...routes.map(({dst}) => `route to ${formatCidr(dst)}`),
    ...devices.map(({name}) => `device ${name} with its neighbours and routes`),
    ...tables.map((name) => `nftables table inet ${name}`),
    ...networks.map((name) => `state of network ${name}`),
  ];
}

function listStates(runDir: string): readonly string[] {
  try {
    return readdirSync(runDir)
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -'.json'.length));
  } catch {
    return [];
  }
}

function ignoreMissing(error: unknown): string[] {
  if (isMissingNftables(error)) return [];
  throw error;
}
