import {attrs} from './attrs.ts';
import {string, u32} from './codec.ts';
import type {Writer} from './writer.ts';
import type {ExtendedAck} from './error.ts';

/** Flags of struct nlmsghdr (linux/netlink.h, NLM_F_*). */
export const Flag = {
  request: 0x1,
  multi: 0x2,
  ack: 0x4,
  echo: 0x8,
  dumpInterrupted: 0x10,
  /** NLM_F_ROOT | NLM_F_MATCH, of a GET. */
  dump: 0x300,
  /** Of a NEW: change the object that is there. */
  replace: 0x100,
  /** Of a NEW: fail if it is there. */
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
  /** Of a DEL, in families that know it: all objects that match. */
  bulk: 0x200,
} as const;

/** Types that every netlink family has (NLMSG_*). */
export const messageType = {noop: 1, error: 2, done: 3, overrun: 4, firstOfProtocol: 16} as const;

/** sizeof(struct nlmsghdr): length u32, type u16, flags u16, sequence number u32, port u32. */
export const headerSize = 16;

/** One message to the kernel. */
export interface Request {
  readonly type: number;
  /** Besides NLM_F_REQUEST and what the kind of question brings (NLM_F_ACK, NLM_F_DUMP). */
  readonly flags?: number;
  /** Everything behind the header. */
  readonly body?: Uint8Array | ((writer: Writer) => void);
  /** What is asked, for error messages: "set master of veth0". */
  readonly what: string;
  /** The kernel takes long: another thread waits for it, and what is asked meanwhile may be answered before. */
  readonly inBackground?: boolean;
}

/** One message from the kernel: its body is `buffer` from `start` to `end`. */
export interface Reply {
  readonly type: number;
  readonly flags: number;
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

interface Status {
  /** Positive; 0 is success. */
  readonly errno: number;
  readonly extack: () => ExtendedAck;
}

const capped = 0x100;
const hasAttributes = 0x200;

// linux/netlink.h, enum nlmsgerr_attrs
const ackAttributes = attrs({
  message: [1, string],
  offset: [2, u32],
  missing: [5, u32],
});

/** struct nlmsgerr: the errno, then the request's header or (uncapped) all of it, then attributes. */
export function parseAck({flags, buffer, start, end}: Reply): Status {
  if (end - start < 4) throw new RangeError('an acknowledgement without an errno');
  const errno = -buffer.readInt32LE(start);
  return {
    errno,
    extack() {
      if ((flags & hasAttributes) === 0) return {};
      const echoed = (flags & capped) === 0 ? buffer.readUInt32LE(start + 4) : headerSize;
      return ackAttributes.get(buffer, start + 4 + ((echoed + 3) & ~3), end);
    },
  };
}

/** The end of a dump: an errno, and attributes as an acknowledgement has them. */
export function parseDone({flags, buffer, start, end}: Reply): Status {
  return {
    errno: end - start >= 4 ? -buffer.readInt32LE(start) : 0,
    extack: () => ((flags & hasAttributes) === 0 ? {} : ackAttributes.get(buffer, start + 4, end)),
  };
}
