import {attrs} from '../attrs.ts';
import {u32be} from '../codec.ts';
import type {Codec} from '../codec.ts';
import type {Writer} from '../writer.ts';
import {isNotFound, isRetryable, NetlinkError} from '../error.ts';
import {Flag} from '../message.ts';
import type {Reply, Request} from '../message.ts';
import {messages, operation} from './operation.ts';
import type {Operation} from './operation.ts';
import type {NetfilterSocket} from './socket.ts';

// linux/netfilter/nfnetlink.h
const subsystem = 10;
const batchBegin = 16;
const batchEnd = 17;
/** sizeof(struct nfgenmsg): family u8, version u8, resource u16be. */
const headerSize = 4;

/** enum nfnl_batch_attributes. */
const batchAttrs = attrs({generation: [1, u32be]});
/** enum nft_gen_attributes. */
const generationAttrs = attrs({id: [1, u32be]});

const attempts = 500;

/** An operation of a transaction that was refused. */
export interface Failure {
  readonly operation: Operation;
  readonly error: NetlinkError;
}

export interface CommitOptions {
  /** Refuse with ERESTART when the rules of this namespace are not of this generation any more. */
  readonly generation?: number;
}

/**
 * Carries out `operations` as one transaction: all of them, or nothing. Throws the NetlinkError of the first one
 * that was refused, or of the transaction as a whole (EPERM, ERESTART).
 */
export async function commit(
  nft: NetfilterSocket,
  operations: readonly Operation[],
  options: CommitOptions = {},
): Promise<void> {
  const failures = await tryCommit(nft, operations, options);
  if (failures[0]) throw failures[0].error;
}

/**
 * As `commit`, but the operations that were refused are the result: an empty list means that the
 * transaction happened. Throws only what concerns the transaction as a whole.
 */
export async function tryCommit(
  nft: NetfilterSocket,
  operations: readonly Operation[],
  {generation}: CommitOptions = {},
): Promise<Failure[]> {
  if (operations.length === 0) return [];
  const outcomes = await nft.batch([
    boundary(batchBegin, generation),
    ...operations.map((each) => toRequest(each, each.flags | Flag.ack)),
    boundary(batchEnd),
  ]);
  const begin = outcomes[0]?.error;
  if (begin) throw begin;
  return operations.flatMap((operation, i) => {
    const error = outcomes[i + 1]?.error;
    return error ? {operation, error} : [];
  });
}

function boundary(type: number, generation?: number): Request {
  return {
    type,
    what: 'nftables transaction',
    body(w) {
      // The resource id says whose transaction it is.
      w.append(Uint8Array.of(0, 0, 0, subsystem));
      if (generation !== undefined) batchAttrs.put(w, {generation});
    },
  };
}

function toRequest(operation: Operation, flags = operation.flags): Request {
  return {
    type: (subsystem << 8) | operation.message,
    flags,
    what: operation.text(),
    body(w: Writer) {
      w.append(Uint8Array.of(operation.family, 0, 0, 0));
      operation.put(w);
    },
  };
}

/** The answer to a question about one object; `undefined` where it, its table or its set is missing. */
export async function find<T>(
  nft: NetfilterSocket,
  question: Operation,
  codec: Codec<T>,
): Promise<T | undefined> {
  try {
    return await nft.get(toRequest(question), (reply) => decode(reply, codec));
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** The answers to a question about many objects; none where what they belong to is missing. */
export async function list<T>(nft: NetfilterSocket, question: Operation, codec: Codec<T>): Promise<T[]> {
  try {
    return await nft.dump(toRequest(question), (reply) => decode(reply, codec));
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

function decode<T>({buffer, start, end}: Reply, codec: Codec<T>): T {
  return codec.get(buffer, start + headerSize, end);
}

/** The number of the current state of all tables of the namespace; every transaction changes it. */
export function getGeneration(nft: NetfilterSocket): Promise<number> {
  const question = operation(
    {message: messages.getGeneration, family: undefined},
    generationAttrs,
    {},
    () => 'nftables generation',
  );
  return nft.get(toRequest(question), (reply) => decode(reply, generationAttrs).id ?? 0);
}

/**
 * Reads and then changes: `plan` looks at what is there and gives the operations, which are carried out only if
 * nobody changed anything since; otherwise all of it again. No operations end it.
 */
export async function transact(
  nft: NetfilterSocket,
  plan: () => Promise<readonly Operation[]>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    // Asked first, in the same datagram as the first question of `plan`.
    const generation = getGeneration(nft);
    const [operations] = await Promise.all([plan(), generation]);
    if (operations.length === 0) return;
    try {
      return await commit(nft, operations, {generation: await generation});
    } catch (error) {
      if (!isRetryable(error) || attempt === attempts) throw error;
      // Many at once: those who lost should not all meet again.
      if (attempt > 2)
        await new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(attempt, 20)));
    }
  }
}
