import {closeSync} from 'node:fs';
import type {Family} from '../ip/address.ts';
import {readSocketOption, openRawSocket} from '../netns/native.ts';

// The tables of iptables-legacy as the kernel gives them to its tool: read here to know whether there is something to do, in
// a fraction of the time that the tool takes to say so. What is to be changed, the tool changes.

/** linux/netfilter_ipv4/ip_tables.h and linux/netfilter_ipv6/ip6_tables.h; the options' numbers are the same. */
const layouts = {
  4: {level: 0, matchBytes: 84, headBytes: 112},
  6: {level: 41, matchBytes: 136, headBytes: 168},
} as const;
const getInfo = 64;
const getEntries = 65;

const rawProtocol = 255;
const nameBytes = 32;
/** struct ipt_getinfo: name, valid_hooks, hook_entry[5], underflow[5], num_entries, size. */
const infoBytes = 84;
const hookEntryAt = 36;
const underflowAt = 56;
const sizeAt = 80;
/** struct ipt_get_entries: name, size, and the entries at a multiple of 8. */
const entriesAt = 40;
const forwardHook = 2;

/** struct xt_entry_match and xt_entry_target: size u16, name of 29 bytes, revision u8, data. */
const extensionHead = 32;
const errorTarget = 'ERROR';

/** A match or the target of a rule. */
export interface LegacyExtension {
  readonly name: string;
  readonly data: Buffer;
}

export interface LegacyRule {
  /** Whether it compares addresses, interfaces or the protocol. */
  readonly isSelective: boolean;
  readonly matches: readonly LegacyExtension[];
  readonly target: LegacyExtension;
}

/** One table of a namespace, at one moment. */
export class LegacyTable {
  readonly #family: Family;
  readonly #info: Buffer;
  readonly #entries: Buffer;

  constructor(family: Family, info: Buffer, entries: Buffer) {
    this.#family = family;
    this.#info = info;
    this.#entries = entries;
  }

  /** Whether the bytes occur in it: names of chains, comments and addresses stand there as they are. */
  mentions(bytes: string | Uint8Array): boolean {
    return this.#entries.includes(Buffer.from(bytes));
  }

  /** The rules of the chain FORWARD. */
  forward(): LegacyRule[] {
    const start = this.#info.readUInt32LE(hookEntryAt + 4 * forwardHook);
    return this.#rules(start, this.#info.readUInt32LE(underflowAt + 4 * forwardHook));
  }

  /** The rules of a chain that somebody made, and what a jump there says; `undefined` where there is none. */
  find(chain: string): {readonly verdict: number; readonly rules: readonly LegacyRule[]} | undefined {
    let start: number | undefined;
    for (let at = 0; at < this.#entries.length; at = this.#next(at)) {
      const {target} = this.#rule(at);
      if (target.name !== errorTarget) continue;
      // Its last rule is the RETURN that every such chain ends with.
      if (start !== undefined) return {verdict: start, rules: this.#rules(start, at).slice(0, -1)};
      if (text(target.data) === chain) start = this.#next(at);
    }
    return undefined;
  }

  #rules(start: number, end: number): LegacyRule[] {
    const rules: LegacyRule[] = [];
    for (let at = start; at < end; at = this.#next(at)) rules.push(this.#rule(at));
    return rules;
  }

  #next(at: number): number {
    const size = this.#entries.readUInt16LE(at + layouts[this.#family].matchBytes + 6);
    if (size === 0) throw new Error('a rule without a size');
    return at + size;
  }

  #rule(at: number): LegacyRule {
    const {matchBytes, headBytes} = layouts[this.#family];
    const targetAt = at + this.#entries.readUInt16LE(at + matchBytes + 4);
    const matches: LegacyExtension[] = [];
    for (let from = at + headBytes; from < targetAt;) {
      const match = this.#extension(from);
      matches.push(match);
      from += match.data.length + extensionHead;
    }
    return {
      isSelective: this.#entries.subarray(at, at + matchBytes).some((byte) => byte !== 0),
      matches,
      target: this.#extension(targetAt),
    };
  }

  #extension(at: number): LegacyExtension {
    const size = this.#entries.readUInt16LE(at);
    if (size < extensionHead) throw new Error('a match without a size');
    return {
      name: text(this.#entries.subarray(at + 2, at + extensionHead - 1)),
      data: this.#entries.subarray(at + extensionHead, at + size),
    };
  }
}

function text(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}

const attempts = 5;

/**
 * Reads a table that the namespace has: the kernel would make one that it has not. `undefined` where it cannot be read,
 * without CAP_NET_RAW for one.
 */
export function readLegacyTable(family: Family, table: 'filter' | 'nat'): LegacyTable | undefined {
  let fd: number | undefined;
  try {
    fd = openRawSocket({family, protocol: rawProtocol});
    const {level} = layouts[family];
    for (let attempt = 1; ; attempt++) {
      const info = Buffer.alloc(infoBytes);
      info.write(table);
      readSocketOption(fd, {level, name: getInfo}, info);
      const size = info.readUInt32LE(sizeAt);
      const answer = Buffer.alloc(entriesAt + size);
      answer.write(table);
      answer.writeUInt32LE(size, nameBytes);
      try {
        readSocketOption(fd, {level, name: getEntries}, answer);
        return new LegacyTable(family, info, answer.subarray(entriesAt));
      } catch (error) {
        // It grew or shrank since its size was asked.
        if (attempt === attempts) throw error;
      }
    }
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
