import {array, attrs} from '../attrs.ts';
import {string, u32be} from '../codec.ts';
import type {Values} from '../attrs.ts';
import type {NetfilterSocket} from './socket.ts';
import {creation, messages, operation} from './operation.ts';
import type {Operation} from './operation.ts';
import type {SetRef} from './set.ts';
import {formatValue} from './set-type.ts';
import type {SetType} from './set-type.ts';
import {find, list} from './transaction.ts';
import {formatComment, userData} from './userdata.ts';
import {dataAttrs, formatVerdict, parseVerdict, verdictData} from './verdict.ts';
import type {Verdict} from './verdict.ts';

/** enum nft_set_elem_attributes. */
const elementAttrs = attrs({
  key: [1, dataAttrs],
  data: [2, dataAttrs],
  flags: [3, u32be],
  userdata: [6, userData(0)],
});

/** enum nft_set_elem_list_attributes. */
const elementListAttrs = attrs({
  table: [1, string],
  set: [2, string],
  elements: [3, array(elementAttrs)],
  id: [4, u32be],
});

/** An element of a set, or of a map when it has a verdict or data. */
export interface Element {
  readonly key: Uint8Array;
  readonly verdict?: Verdict;
  readonly data?: Uint8Array;
  readonly comment?: string;
}

/** A set that elements are added to: its id, where the same transaction makes it, and the type of its data. */
export interface ElementsOf extends SetRef {
  readonly id?: number;
  readonly data?: SetType | 'verdict';
}

/**
 * Adds elements. An existing key of equal content is accepted without a change, and so keeps its
 * comment; one of other content is EEXIST (EBUSY on older kernels).
 */
export function ensureElements(set: ElementsOf, elements: readonly Element[]): Operation {
  return change(set, elements, {...creation.ensure, message: messages.newElements});
}

/** Adds elements; EEXIST where a key is there (EBUSY on older kernels, if with other content). */
export function addElements(set: ElementsOf, elements: readonly Element[]): Operation {
  return change(set, elements, {...creation.add, message: messages.newElements});
}

/** Deletes elements by key; ENOENT where one is missing. */
export function deleteElements({family, table, set, key}: SetRef, keys: readonly Uint8Array[]): Operation {
  const elements = keys.map((key) => ({key}));
  const of = {family, table, set, key};
  return change(of, elements, {verb: 'delete', message: messages.deleteElements, flags: 0});
}

function change(
  set: ElementsOf,
  elements: readonly Element[],
  {verb, message, flags}: {verb: string; message: number; flags: number},
): Operation {
  return operation(
    {message, flags, family: set.family},
    elementListAttrs,
    {table: set.table, set: set.set, id: set.id, elements: elements.map(attributesOf)},
    () => {
      const texts = elements.map((element) => formatElement(set, element)).join(', ');
      return `${verb} element ${set.family} ${set.table} ${set.set} { ${texts} }`;
    },
  );
}

function attributesOf({key, verdict, data, comment}: Element): Values<typeof elementAttrs.table> {
  return {
    key: {value: key},
    data: verdict ? verdictData(verdict) : data && {value: data},
    userdata: comment === undefined ? undefined : {comment},
  };
}

function formatElement(
  {key: keyType, data: dataType}: ElementsOf,
  {key, verdict, data, comment}: Element,
): string {
  let value = '';
  if (verdict) value = ` : ${formatVerdict(verdict)}`;
  else if (data && dataType !== undefined && dataType !== 'verdict')
    value = ` : ${formatValue(dataType, data)}`;
  return `${formatValue(keyType, key)}${formatComment(comment)}${value}`;
}

/** One element by its key; `undefined` also where there is no such set. */
export async function findElement(
  nft: NetfilterSocket,
  set: SetRef,
  key: Uint8Array,
): Promise<Element | undefined> {
  const question = change(set, [{key}], {verb: 'get', message: messages.getElements, flags: 0});
  const found = await find(nft, question, elementListAttrs);
  return found && parseElements(found)[0];
}

/** All elements of a set; none where there is no such set. */
export async function listElements(nft: NetfilterSocket, {family, table, set}: SetRef): Promise<Element[]> {
  const question = operation(
    {message: messages.getElements, family},
    elementListAttrs,
    {table, set},
    () => `list set ${family} ${table} ${set}`,
  );
  const lists = await list(nft, question, elementListAttrs);
  return lists.flatMap(parseElements);
}

function parseElements(list: Values<typeof elementListAttrs.table>): Element[] {
  return (list.elements ?? []).flatMap(({key, data, userdata}) => {
    if (key?.value === undefined) return [];
    const verdict = parseVerdict(data);
    return {
      key: key.value,
      ...(verdict && {verdict}),
      ...(data?.value && {data: data.value}),
      ...(userdata?.comment !== undefined && {comment: userdata.comment}),
    };
  });
}
