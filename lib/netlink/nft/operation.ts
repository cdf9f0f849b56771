import type {Codec} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {Flag} from '../message.ts';

/** Address families of nftables by their nft names (linux/netfilter.h, NFPROTO_*). */
export const families = {inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10} as const;
export type NftFamily = keyof typeof families;

/** linux/netfilter/nf_tables.h, enum nf_tables_msg_types. */
export const messages = {
  newTable: 0,
  getTable: 1,
  deleteTable: 2,
  newChain: 3,
  getChain: 4,
  deleteChain: 5,
  newRule: 6,
  getRule: 7,
  deleteRule: 8,
  newSet: 9,
  getSet: 10,
  deleteSet: 11,
  newElements: 12,
  getElements: 13,
  deleteElements: 14,
  getGeneration: 16,
} as const;

/** `ensure`: an object that is there is accepted; `add`: it is an error. */
export const creation = {
  ensure: {verb: 'add', flags: Flag.create},
  add: {verb: 'create', flags: Flag.create | Flag.exclusive},
} as const;
export type Creation = (typeof creation)[keyof typeof creation];

/** Where an object lives. */
export interface TableRef {
  readonly family: NftFamily;
  readonly table: string;
}

/**
 * One message of a transaction, or one question, as data: nothing happens before it is sent. The same object is
 * text in nft's own language, for logs, errors and tests.
 */
export interface Operation {
  readonly message: number;
  readonly flags: number;
  readonly family: number;
  /** Writes the attributes. */
  put(w: Writer): void;
  /** The nft command that does the same. */
  text(): string;
}

/** An operation from its attributes. */
export function operation<T>(
  {message, flags = 0, family}: {message: number; flags?: number; family: NftFamily | undefined},
  codec: Codec<T>,
  value: T,
  text: () => string,
): Operation {
  const number = family === undefined ? 0 : families[family];
  return {message, flags, family: number, put: (w) => codec.put(w, value), text};
}

/** A script for `nft -f` that does what the operations do. */
export function formatOperations(operations: readonly Operation[]): string {
  return operations.map((operation) => `${operation.text()}\n`).join('');
}
