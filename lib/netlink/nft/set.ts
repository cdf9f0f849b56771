import {attrs} from '../attrs.ts';
import {string, u32, u32be, u64be} from '../codec.ts';
import {Writer} from '../writer.ts';
import {creation, messages, operation} from './operation.ts';
import type {Creation, Operation, TableRef} from './operation.ts';
import {formatType, typeBytes, typeNumber, typeOrder} from './set-type.ts';
import type {SetType} from './set-type.ts';
import type {NetfilterSocket} from './socket.ts';
import {list} from './transaction.ts';
import {formatComment, userData} from './userdata.ts';

/** enum nft_set_attributes. */
const setAttrs = attrs({
  table: [1, string],
  name: [2, string],
  flags: [3, u32be],
  keyType: [4, u32be],
  keyBytes: [5, u32be],
  dataType: [6, u32be],
  dataBytes: [7, u32be],
  policy: [8, u32be],
  /** Limits of its size: enum nft_set_desc_attributes. */
  description: [9, attrs({size: [1, u32be]})],
  id: [10, u32be],
  /** How long its elements live, in milliseconds. */
  timeout: [11, u64be],
  userdata: [13, userData(7)],
  handle: [16, u64be],
});

/** enum nft_set_flags; rules add elements to a dynamic set, which go after a while. */
const isAnonymous = 1;
const isMap = 8;
const hasTimeout = 0x10;
const isDynamic = 0x20;

/** NFT_DATA_VERDICT. */
const verdictType = 0xffffff00;

/** libnftnl/udata.h, enum nftnl_udata_set_types. */
const entries = {keyOrder: 0, dataOrder: 1, keyExpression: 3, dataExpression: 4, dataInterval: 6} as const;

/** What nft says of a concatenation beside its type: "made by an expression of kind 13", a concatenation, "without more". */
const concatenation = Uint8Array.from([0, 4, 13, 0, 0, 0, 1, 0]);

export interface SetRef extends TableRef {
  readonly set: string;
  /** What an element's key is; needed to write elements as text. */
  readonly key: SetType;
}

/** A set, or a map when it has `data`. */
export interface NftSet extends SetRef {
  readonly data?: SetType | 'verdict';
  /** A number of its own in the transaction; from 1. */
  readonly id: number;
  readonly comment?: string;
  /** Rules add elements, at most so many, which go so many milliseconds after they were last added. */
  readonly dynamic?: {readonly timeoutMs: number; readonly size: number};
}

/** Makes the set or map unless it is there. EEXIST where one of that name has other types. */
export function ensureSet(set: NftSet): Operation {
  return newSet(set, creation.ensure);
}

/** Makes the set or map; EEXIST where it is there. */
export function addSet(set: NftSet): Operation {
  return newSet(set, creation.add);
}

function newSet(made: NftSet, {verb, flags}: Creation): Operation {
  const {family, table, set, key, data, id, comment, dynamic} = made;
  const order = data === undefined || data === 'verdict' ? 0 : typeOrder(data);
  return operation(
    {message: messages.newSet, flags, family},
    setAttrs,
    {
      table,
      name: set,
      flags: (data === undefined ? 0 : isMap) | (dynamic ? hasTimeout | isDynamic : 0),
      keyType: typeNumber(key),
      keyBytes: typeBytes(key),
      ...(data !== undefined && {
        dataType: data === 'verdict' ? verdictType : typeNumber(data),
        dataBytes: data === 'verdict' ? 0 : typeBytes(data),
      }),
      id,
      ...(dynamic && {timeout: BigInt(dynamic.timeoutMs), description: {size: dynamic.size}}),
      userdata: {
        ...(comment !== undefined && {comment}),
        entries: [
          [entries.keyOrder, number(typeOrder(key))],
          ...(data === undefined
            ? expressionOf(entries.keyExpression, key)
            : ([
                [entries.dataOrder, number(order)],
                ...expressionOf(entries.keyExpression, key),
                ...expressionOf(entries.dataExpression, data),
                [entries.dataInterval, number(0)],
              ] as const)),
        ],
      },
    },
    () => {
      const type = `type ${formatType(key)}${data === undefined ? '' : ` : ${data === 'verdict' ? data : formatType(data)}`} ;`;
      const note = comment === undefined ? '' : `${formatComment(comment)} ;`;
      const life = dynamic
        ? ` size ${dynamic.size} ; flags dynamic,timeout ; timeout ${dynamic.timeoutMs}ms ;`
        : '';
      return `${verb} ${data === undefined ? 'set' : 'map'} ${family} ${table} ${set} { ${type}${life}${note} }`;
    },
  );
}

/** Deletes the set with its elements; EBUSY while a rule uses it. */
export function deleteSet({family, table, set}: SetRef): Operation {
  return operation(
    {message: messages.deleteSet, family},
    setAttrs,
    {table, name: set},
    // nft takes either word for either object.
    () => `delete set ${family} ${table} ${set}`,
  );
}

/** The names of a table's sets and maps, but for those that rules hold in themselves. */
export async function listSets(nft: NetfilterSocket, {family, table}: TableRef): Promise<readonly string[]> {
  const question = operation(
    {message: messages.getSet, family},
    setAttrs,
    {table},
    () => `list sets table ${family} ${table}`,
  );
  const found = await list(nft, question, setAttrs);
  return found.flatMap(({name, flags = 0}) =>
    name === undefined || (flags & isAnonymous) !== 0 ? [] : [name],
  );
}

function expressionOf(
  entry: number,
  type: SetType | 'verdict',
): readonly (readonly [type: number, value: Uint8Array])[] {
  return typeof type === 'string' ? [] : [[entry, concatenation]];
}

function number(value: number): Uint8Array {
  const w = new Writer(4);
  u32.put(w, value);
  return w.bytes();
}
