import {attrs} from '../attrs.ts';
import {s32be, string, u32be, u64be} from '../codec.ts';
import type {NetfilterSocket} from './socket.ts';
import {creation, messages, operation} from './operation.ts';
import type {Creation, Operation, TableRef} from './operation.ts';
import {find, list} from './transaction.ts';
import {formatComment, userData} from './userdata.ts';

/** linux/netfilter.h, enum nf_inet_hooks. */
const hooks = {prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4} as const;

/** enum nft_hook_attributes. */
const hookAttrs = attrs({hook: [1, u32be], priority: [2, s32be]});

/** enum nft_chain_attributes. */
const chainAttrs = attrs({
  table: [1, string],
  handle: [2, u64be],
  name: [3, string],
  hook: [4, hookAttrs],
  policy: [5, u32be],
  /** Its rules, and what jumps to it. */
  use: [6, u32be],
  type: [7, string],
  userdata: [12, userData(0)],
});

export interface ChainRef extends TableRef {
  readonly chain: string;
}

/** Makes a chain one that packets enter by themselves. */
interface Base {
  readonly type: 'filter' | 'nat' | 'route';
  readonly hook: keyof typeof hooks;
  readonly priority: number;
  readonly policy?: 'accept' | 'drop';
}

export interface Chain extends ChainRef {
  readonly base?: Base;
  readonly comment?: string;
}

/** A chain as the kernel has it; `hook` and `priority` only of a base chain. */
export interface ChainInfo {
  readonly table: string;
  readonly chain: string;
  readonly type?: string | undefined;
  readonly hook?: number | undefined;
  readonly priority?: number | undefined;
  /** What becomes of a packet that no rule decides about; only of a base chain. */
  readonly policy?: 'accept' | 'drop' | undefined;
  readonly comment?: string | undefined;
  /** How many rules it has, and rules and elements that lead to it. */
  readonly use?: number | undefined;
}

/** Makes the chain unless it is there. EEXIST or EOPNOTSUPP where one of that name has another hook. */
export function ensureChain(chain: Chain): Operation {
  return newChain(chain, creation.ensure);
}

/** Makes the chain; EEXIST where it is there. */
export function addChain(chain: Chain): Operation {
  return newChain(chain, creation.add);
}

function newChain({family, table, chain, base, comment}: Chain, {verb, flags}: Creation): Operation {
  const policy = base?.policy ?? 'accept';
  return operation(
    {message: messages.newChain, flags, family},
    chainAttrs,
    {
      table,
      name: chain,
      ...(base && {
        type: base.type,
        policy: policy === 'accept' ? 1 : 0,
        hook: {hook: hooks[base.hook], priority: base.priority},
      }),
      userdata: comment === undefined ? undefined : {comment},
    },
    () => {
      const parts = [
        ...(base
          ? [`type ${base.type} hook ${base.hook} priority ${base.priority} ; policy ${policy} ;`]
          : []),
        ...(comment === undefined ? [] : [`${formatComment(comment).trim()} ;`]),
      ];
      return `${verb} chain ${family} ${table} ${chain}${parts.length === 0 ? '' : ` { ${parts.join(' ')} }`}`;
    },
  );
}

// linux/netfilter/nf_tables.h, NFT_CHAIN_MAXNAMELEN less the zero at the end
const longestName = 255;

/** Deletes the chain and its rules; EBUSY while something jumps to it, ENOENT where there is none. */
export function deleteChain({family, table, chain}: ChainRef): Operation {
  return operation(
    {message: messages.deleteChain, family},
    chainAttrs,
    {table, name: chain},
    () => `delete chain ${family} ${table} ${chain}`,
  );
}

export async function findChain(
  nft: NetfilterSocket,
  {family, table, chain}: ChainRef,
): Promise<ChainInfo | undefined> {
  // The kernel refuses even the question.
  if (Buffer.byteLength(chain) > longestName) return undefined;
  const question = operation(
    {message: messages.getChain, family},
    chainAttrs,
    {table, name: chain},
    () => `list chain ${family} ${table} ${chain}`,
  );
  const found = await find(nft, question, chainAttrs);
  return found && infoOf(found);
}

/** The chains of one table. The kernel lists those of every table of the family. */
export async function listChains(nft: NetfilterSocket, {family, table}: TableRef): Promise<ChainInfo[]> {
  const found = await listAllChains(nft, family);
  return found.filter((chain) => chain.table === table);
}

/** The base chains of every table of a family that see the packets of a hook. */
export async function listBaseChains(
  nft: NetfilterSocket,
  {family, hook}: {readonly family: TableRef['family']; readonly hook: keyof typeof hooks},
): Promise<ChainInfo[]> {
  const found = await listAllChains(nft, family);
  return found.filter((chain) => chain.hook === hooks[hook]);
}

async function listAllChains(nft: NetfilterSocket, family: TableRef['family']): Promise<ChainInfo[]> {
  const question = operation(
    {message: messages.getChain, family},
    chainAttrs,
    {},
    () => `list chains ${family}`,
  );
  const found = await list(nft, question, chainAttrs);
  return found.map(infoOf);
}

function infoOf(found: ReturnType<typeof chainAttrs.get>): ChainInfo {
  const {table = '', name = '', type, hook, policy, userdata, use} = found;
  const {hook: number, priority} = hook ?? {};
  return {
    table,
    chain: name,
    type,
    hook: number,
    priority,
    ...(policy !== undefined && {policy: policy === 0 ? 'drop' : 'accept'}),
    comment: userdata?.comment,
    use,
  };
}
