import {headerFlag, headerSize, rcode, recordType} from './constants.ts';
import {readName} from './name.ts';
import type {Query} from './query.ts';

interface Kept {
  readonly message: Buffer;
  /** Where the times to live stand in it. */
  readonly ttls: readonly number[];
  readonly atMs: number;
  readonly untilMs: number;
}

export interface CacheOptions {
  readonly maxEntries?: number;
  /** An answer is kept no longer, whatever it says. */
  readonly maxTtl?: number;
  /** How long, in seconds, an old answer may be given while no server answers (RFC 8767). */
  readonly staleTtl?: number;
}

/** The time to live of an old answer (RFC 8767, 4). */
const staleAnswerTtl = 30;

/** Answers of other servers, as they came. */
export class AnswerCache {
  readonly #kept = new Map<string, Kept>();
  readonly #maxEntries: number;
  readonly #maxTtl: number;
  readonly #staleMs: number;

  constructor({maxEntries = 2000, maxTtl = 3600, staleTtl = 3600}: CacheOptions = {}) {
    this.#maxEntries = maxEntries;
    this.#maxTtl = maxTtl;
    this.#staleMs = staleTtl * 1000;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** The answer to a query in the client's spelling, its times to live counted down; `stale`: also one that is too old. */
  find(
    query: Query,
    scope: string,
    {nowMs, stale}: {readonly nowMs: number; readonly stale: boolean},
  ): Buffer | undefined {
    const kept = this.#kept.get(keyOf(query, scope));
    if (kept === undefined) return undefined;
    if (nowMs >= kept.untilMs && !(stale && nowMs < kept.untilMs + this.#staleMs)) return undefined;
    const message = Buffer.from(kept.message);
    message.writeUInt16BE(query.id, 0);
    message.set(query.question, headerSize);
    const age = Math.floor((nowMs - kept.atMs) / 1000);
    for (const at of kept.ttls) {
      const left = message.readUInt32BE(at) - age;
      message.writeUInt32BE(nowMs >= kept.untilMs ? staleAnswerTtl : Math.max(left, 0), at);
    }
    return message;
  }

  put(query: Query, scope: string, message: Buffer, nowMs: number): void {
    const times = readTimes(message, headerSize + query.question.length);
    if (times === undefined || times.ttl <= 0) return;
    const key = keyOf(query, scope);
    this.#kept.delete(key);
    this.#kept.set(key, {
      message: Buffer.from(message),
      ttls: times.offsets,
      atMs: nowMs,
      untilMs: nowMs + Math.min(times.ttl, this.#maxTtl) * 1000,
    });
    if (this.#kept.size > this.#maxEntries) this.#kept.delete(this.#kept.keys().next().value!);
  }

  clear(): void {
    this.#kept.clear();
  }
}

/** `scope`: whom was asked; answers of one network's servers are not for another. */
function keyOf({name, type, class: kind, checkingDisabled, edns}: Query, scope: string): string {
  return [scope, name, type, kind, checkingDisabled, edns !== undefined, edns?.dnssec ?? false].join('\n');
}

/** How long an answer may be kept, and where that stands; undefined for one that is not kept. */
function readTimes(
  message: Buffer,
  start: number,
): {readonly ttl: number; readonly offsets: readonly number[]} | undefined {
  const flags = message.readUInt16BE(2);
  const code = flags & 0xf;
  if ((flags & headerFlag.truncated) !== 0 || (code !== rcode.noError && code !== rcode.nameError))
    return undefined;
  const answers = message.readUInt16BE(6);
  const count = answers + message.readUInt16BE(8) + message.readUInt16BE(10);
  const offsets: number[] = [];
  let ttl = Number.POSITIVE_INFINITY;
  let negativeTtl: number | undefined;
  let at = start;
  for (let i = 0; i < count; i++) {
    const name = readName(message, at);
    if (name === undefined || name.end + 10 > message.length) return undefined;
    const type = message.readUInt16BE(name.end);
    const size = message.readUInt16BE(name.end + 8);
    at = name.end + 10 + size;
    if (at > message.length) return undefined;
    if (type === recordType.OPT) continue;
    offsets.push(name.end + 4);
    const own = message.readUInt32BE(name.end + 4);
    ttl = Math.min(ttl, own);
    // RFC 2308, 5: how long a denial is kept.
    if (type === recordType.SOA && size >= 20) negativeTtl = Math.min(own, message.readUInt32BE(at - 4));
  }
  const isDenial = answers === 0;
  return {ttl: isDenial ? (negativeTtl ?? 0) : ttl, offsets};
}
