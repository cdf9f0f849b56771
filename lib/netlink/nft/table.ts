import {attrs} from '../attrs.ts';
import {string, u32be, u64be} from '../codec.ts';
import type {NetfilterSocket} from './socket.ts';
import {creation, messages, operation} from './operation.ts';
import type {Creation, Operation, TableRef} from './operation.ts';
import {find, list} from './transaction.ts';
import {formatComment, userData} from './userdata.ts';

/** enum nft_table_attributes. */
const tableAttrs = attrs({
  name: [1, string],
  flags: [2, u32be],
  /** How many objects it has. */
  use: [3, u32be],
  handle: [4, u64be],
  userdata: [6, userData(0)],
});

export interface Table extends TableRef {
  readonly comment?: string;
}

/** Makes the table unless it is there; a comment that is there stays. */
export function ensureTable(table: Table): Operation {
  return newTable(table, creation.ensure);
}

/** Makes the table; EEXIST where it is there. */
export function addTable(table: Table): Operation {
  return newTable(table, creation.add);
}

function newTable({family, table, comment}: Table, {verb, flags}: Creation): Operation {
  return operation(
    {message: messages.newTable, flags, family},
    tableAttrs,
    {name: table, flags: 0, userdata: comment === undefined ? undefined : {comment}},
    () => `${verb} table ${family} ${table}${comment === undefined ? '' : ` {${formatComment(comment)} ; }`}`,
  );
}

/** Deletes the table with all it has; ENOENT where there is none. */
export function deleteTable({family, table}: TableRef): Operation {
  return operation(
    {message: messages.deleteTable, family},
    tableAttrs,
    {name: table},
    () => `delete table ${family} ${table}`,
  );
}

/** The table's comment and the number of its objects. */
export async function findTable(
  nft: NetfilterSocket,
  {family, table}: TableRef,
): Promise<{comment: string | undefined; use: number} | undefined> {
  const question = operation(
    {message: messages.getTable, family},
    tableAttrs,
    {name: table},
    () => `list table ${family} ${table}`,
  );
  const found = await find(nft, question, tableAttrs);
  return found && {comment: found.userdata?.comment, use: found.use ?? 0};
}

/** The names of all tables of a family. */
export async function listTables(nft: NetfilterSocket, family: TableRef['family']): Promise<string[]> {
  const question = operation(
    {message: messages.getTable, family},
    tableAttrs,
    {},
    () => `list tables ${family}`,
  );
  const found = await list(nft, question, tableAttrs);
  return found.flatMap(({name}) => name ?? []);
}
