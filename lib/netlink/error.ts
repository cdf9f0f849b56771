import {errnoCode, errnoText} from '../errno.ts';

/** What the kernel adds to an error number (include/uapi/linux/netlink.h, enum nlmsgerr_attrs). */
export interface ExtendedAck {
  /** The kernel's sentence: "Device is already a port". */
  readonly message?: string | undefined;
  /** Where in the request the attribute stands that it dislikes, in bytes from the message header. */
  readonly offset?: number | undefined;
  /** The number of an attribute that it misses. */
  readonly missing?: number | undefined;
}

/** A request the kernel refused, or one that got no complete answer. */
export class NetlinkError extends Error {
  override readonly name = 'NetlinkError';
  /** Positive: 17 is EEXIST. */
  readonly errno: number;
  readonly code: string;
  /** What was asked, as words: "set master of veth0". */
  readonly request: string;
  readonly extack: string | undefined;
  readonly offset: number | undefined;
  readonly missing: number | undefined;

  constructor(request: string, errno: number, extack: ExtendedAck = {}) {
    // Often an answer like any other ("no such link"), and made far from where it was asked for: a stack would only take time.
    const {stackTraceLimit} = Error;
    Error.stackTraceLimit = 0;
    super(`${request}: ${errnoCode(errno)} (${extack.message || errnoText(errno)})`);
    Error.stackTraceLimit = stackTraceLimit;
    this.request = request;
    this.errno = errno;
    this.code = errnoCode(errno);
    this.extack = extack.message;
    this.offset = extack.offset;
    this.missing = extack.missing;
  }

  /** The C library's sentence: "file exists". */
  get text(): string {
    return errnoText(this.errno);
  }
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof NetlinkError && codes.includes(error.code);
}

/** No such link, route, rule, table…: ENODEV, ENOENT, ESRCH, or EADDRNOTAVAIL for an address. */
export function isNotFound(error: unknown): boolean {
  return hasCode(error, 'ENODEV', 'ENOENT', 'ESRCH', 'EADDRNOTAVAIL');
}

export function isExists(error: unknown): boolean {
  return hasCode(error, 'EEXIST');
}

export function isBusy(error: unknown): boolean {
  return hasCode(error, 'EBUSY');
}

/** There is no room for one more, as in a bridge that has all its ports. */
export function isFull(error: unknown): boolean {
  return hasCode(error, 'EXFULL');
}

/** The kernel has not the feature, or not the module: EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT. */
export function isUnsupported(error: unknown): boolean {
  return hasCode(error, 'EOPNOTSUPP', 'ENOTSUPP', 'EPROTONOSUPPORT', 'EAFNOSUPPORT');
}

export function isDenied(error: unknown): boolean {
  return hasCode(error, 'EPERM', 'EACCES');
}

/** Try the same again: the state changed in between (ERESTART of a generation id, EAGAIN, an interrupted dump). */
export function isRetryable(error: unknown): boolean {
  return hasCode(error, 'ERESTART', 'EAGAIN', 'EINTR');
}

/** The socket lost messages and was closed; a new one has to be opened and the state read again. */
export function isOverrun(error: unknown): boolean {
  return hasCode(error, 'ENOBUFS');
}
