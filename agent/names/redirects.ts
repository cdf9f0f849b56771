import type {RuledChain} from '../../lib/nat/table.ts';
import {chainOperations, checkChain} from '../../lib/nat/table.ts';
import {isMissingNftables, type NetfilterSocket} from '../../lib/netlink/nft/socket.ts';
import {deleteTable, ensureTable, findTable} from '../../lib/netlink/nft/table.ts';
import {commit} from '../../lib/netlink/nft/transaction.ts';
import {compareInputInterface, comparePorts} from '../../lib/netlink/nft/match.ts';
import {matchAddress, redirectTo} from '../../lib/netlink/nft/statement.ts';
import {parseCidr} from '../../lib/ip/cidr.ts';

const table = {family: 'inet', table: 'weft-names'} as const;

/** Before what others do with packets that come in (dstnat), so that it is the agent that answers. */
const priority = -101;
const dnsPort = 53;

/** Questions that come in at an interface and go to another server: the agent answers them in its place. */
export interface Intercept {
  readonly bridge: string;
  readonly port: number;
}

/** Questions to an address of ours whose port 53 somebody else has. */
export interface Detour {
  readonly address: string;
  readonly port: number;
}

/** Sends questions to where the agent listens; it is all of the table, which is gone while there is nothing to send. */
export async function ensureRedirects(
  nft: NetfilterSocket,
  {intercepts, detours}: {readonly intercepts: readonly Intercept[]; readonly detours: readonly Detour[]},
): Promise<void> {
  const chain = planRedirects(intercepts, detours);
  const isThere = await hasTable(nft);
  if (chain === undefined) {
    if (isThere) await commit(nft, [deleteTable(table)]);
    return;
  }
  if (isThere && (await checkChain(nft, chain)) === undefined) return;
  await commit(nft, [
    ...(isThere ? [deleteTable(table)] : []),
    ensureTable({...table, comment: 'DNS of containers, made by weft'}),
    ...chainOperations(chain),
  ]);
}

async function hasTable(nft: NetfilterSocket): Promise<boolean> {
  try {
    return (await findTable(nft, table)) !== undefined;
  } catch (error) {
    if (isMissingNftables(error)) return false;
    throw error;
  }
}

/** The chain; undefined where it would have no rules. */
export function planRedirects(
  intercepts: readonly Intercept[],
  detours: readonly Detour[],
): RuledChain | undefined {
  const protocols = ['udp', 'tcp'] as const;
  const ports = protocols.map((protocol) => comparePorts(protocol, {field: 'dport', first: dnsPort}, '=='));
  const rules = [
    ...detours.flatMap(({address, port}) => {
      const cidr = parseCidr(`${address}/${address.includes(':') ? 128 : 32}`)!;
      return ports.map((each) => [matchAddress('daddr', cidr), each, redirectTo(port)]);
    }),
    ...intercepts.flatMap(({bridge, port}) =>
      ports.map((each) => [compareInputInterface('==', bridge), each, redirectTo(port)]),
    ),
  ];
  if (rules.length === 0) return undefined;
  return {...table, chain: 'prerouting', base: {type: 'nat', hook: 'prerouting', priority}, rules};
}
