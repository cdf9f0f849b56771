import {ipBytes, type Ip} from '../../lib/ip/address.ts';
import {classIn, headerFlag, headerSize, maxUdpSize, recordType} from './constants.ts';
import {labelsOf} from './name.ts';
import type {Query} from './query.ts';

/** What a record says; the data's shape goes by the type. */
export type RecordData =
  | {readonly type: 'A' | 'AAAA'; readonly ip: Ip}
  | {readonly type: 'PTR' | 'NS' | 'CNAME'; readonly target: string}
  | {
      readonly type: 'SRV';
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    }
  | {readonly type: 'TXT'; readonly texts: readonly string[]}
  | {
      readonly type: 'SOA';
      readonly server: string;
      readonly mailbox: string;
      readonly serial: number;
      /** How long, in seconds, an answer "there is none" may be kept. */
      readonly minimum: number;
    };

export interface DnsRecord {
  readonly name: string;
  /** Seconds. */
  readonly ttl: number;
  readonly data: RecordData;
}

/** An answer to a query. */
export interface Response {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  /** There is more than this, over TCP. */
  readonly truncated?: boolean;
  readonly answers?: readonly DnsRecord[];
  readonly authority?: readonly DnsRecord[];
  readonly additional?: readonly DnsRecord[];
}

// RFC 1035, 3.3.13, in seconds: what a secondary server of the zone would go by; there is none.
const soaRefresh = 7200;
const soaRetry = 1800;
const soaExpire = 86_400;

const optSize = 11;

/**
 * The message that answers a query, of at most `limit` bytes: records that do not fit are left out, and the flag says so
 * where they were asked for (RFC 2181, 9).
 */
export function formatResponse(query: Query, response: Response, limit: number): Buffer {
  const {rcode: code, answers = [], authority = [], additional = []} = response;
  const writer = new MessageWriter(query, limit - (query.edns ? optSize : 0));
  const counts = [writer.putAll(answers), 0, 0];
  const isTruncated = counts[0]! < answers.length;
  if (!isTruncated) {
    counts[1] = writer.putAll(authority);
    counts[2] = writer.putAll(additional);
  }
  const isCut = response.truncated === true || isTruncated || counts[1]! < authority.length;
  const {message} = writer;
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(
    headerFlag.response |
      (response.authoritative ? headerFlag.authoritative : 0) |
      (isCut ? headerFlag.truncated : 0) |
      (query.recursionDesired ? headerFlag.recursionDesired : 0) |
      (response.recursionAvailable ? headerFlag.recursionAvailable : 0) |
      (query.checkingDisabled ? headerFlag.checkingDisabled : 0) |
      (code & 0xf),
    2,
  );
  message.writeUInt16BE(1, 4);
  message.writeUInt16BE(counts[0]!, 6);
  message.writeUInt16BE(counts[1]!, 8);
  message.writeUInt16BE(counts[2]! + (query.edns ? 1 : 0), 10);
  if (query.edns) writer.putOpt(code >>> 4);
  return message.subarray(0, writer.size);
}

/** Answers a message of which no question could be read. */
export function formatError({
  id,
  flags,
  rcode: code,
}: {
  readonly id: number;
  readonly flags: number;
  readonly rcode: number;
}): Buffer {
  const message = Buffer.alloc(headerSize);
  message.writeUInt16BE(id, 0);
  message.writeUInt16BE(headerFlag.response | flags | code, 2);
  return message;
}

const pointer = 0xc000;
const maxPointer = 0x3fff;

class MessageWriter {
  readonly message: Buffer;
  size: number;
  /** Where names, and what they end with, stand already. */
  readonly #names = new Map<string, number>();
  readonly #limit: number;

  constructor({name, question}: Query, limit: number) {
    this.#limit = limit;
    this.message = Buffer.allocUnsafe(Math.max(limit, headerSize + question.length) + optSize);
    this.message.set(question, headerSize);
    this.size = headerSize + question.length;
    // Most records are about the name of the question.
    let at = headerSize;
    for (let rest = name; rest !== '' && at < this.size;) {
      this.#names.set(rest, at);
      at += this.message[at]! + 1;
      const dot = rest.indexOf('.');
      rest = dot < 0 ? '' : rest.slice(dot + 1);
    }
  }

  /** Writes as many as fit; tells how many. */
  putAll(records: readonly DnsRecord[]): number {
    let count = 0;
    for (const record of records) {
      const before = this.size;
      if (!this.#put(record)) {
        this.size = before;
        for (const [name, at] of this.#names) if (at >= before) this.#names.delete(name);
        break;
      }
      count++;
    }
    return count;
  }

  putOpt(extendedCode: number): void {
    const {message} = this;
    message[this.size] = 0;
    message.writeUInt16BE(recordType.OPT, this.size + 1);
    message.writeUInt16BE(maxUdpSize, this.size + 3);
    message[this.size + 5] = extendedCode;
    message.fill(0, this.size + 6, this.size + optSize);
    this.size += optSize;
  }

  #put({name, ttl, data}: DnsRecord): boolean {
    if (!this.#putName(name)) return false;
    const start = this.size;
    if (!this.#reserve(10)) return false;
    if (!this.#putData(data)) return false;
    this.message.writeUInt16BE(recordType[data.type], start);
    this.message.writeUInt16BE(classIn, start + 2);
    this.message.writeUInt32BE(ttl, start + 4);
    this.message.writeUInt16BE(this.size - start - 10, start + 8);
    return true;
  }

  #putData(data: RecordData): boolean {
    switch (data.type) {
      case 'A':
      case 'AAAA':
        return this.#putBytes(ipBytes(data.ip));
      case 'PTR':
      case 'NS':
      case 'CNAME':
        return this.#putName(data.target);
      case 'SRV':
        // RFC 2782: the target is not compressed.
        return (
          this.#putNumbers16([data.priority, data.weight, data.port]) && this.#putName(data.target, 'plain')
        );
      case 'TXT':
        return data.texts.every((text) => this.#putText(text));
      case 'SOA':
        return (
          this.#putName(data.server) &&
          this.#putName(data.mailbox) &&
          this.#putNumbers32([data.serial, soaRefresh, soaRetry, soaExpire, data.minimum])
        );
    }
  }

  #reserve(bytes: number): boolean {
    if (this.size + bytes > this.#limit) return false;
    this.size += bytes;
    return true;
  }

  #putBytes(bytes: Uint8Array): boolean {
    const at = this.size;
    if (!this.#reserve(bytes.length)) return false;
    this.message.set(bytes, at);
    return true;
  }

  #putNumbers16(numbers: readonly number[]): boolean {
    return numbers.every((number) => {
      const at = this.size;
      if (!this.#reserve(2)) return false;
      this.message.writeUInt16BE(number, at);
      return true;
    });
  }

  #putNumbers32(numbers: readonly number[]): boolean {
    return numbers.every((number) => {
      const at = this.size;
      if (!this.#reserve(4)) return false;
      this.message.writeUInt32BE(number, at);
      return true;
    });
  }

  #putText(text: string): boolean {
    const bytes = Buffer.from(text).subarray(0, 255);
    return this.#putBytes(Buffer.from([bytes.length])) && this.#putBytes(bytes);
  }

  #putName(name: string, spelling: 'compressed' | 'plain' = 'compressed'): boolean {
    let rest = name;
    for (const label of labelsOf(name) ?? []) {
      const known = spelling === 'compressed' ? this.#names.get(rest) : undefined;
      if (known !== undefined) return this.#putNumbers16([pointer | known]);
      if (this.size <= maxPointer) this.#names.set(rest, this.size);
      if (!this.#putBytes(Buffer.from([label.length])) || !this.#putBytes(label)) return false;
      rest = rest.slice(rest.indexOf('.') + 1);
    }
    return this.#putBytes(zero);
  }
}

const zero = Buffer.from([0]);
