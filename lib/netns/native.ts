import koffi from 'koffi';
import {errnoCode, errnoText} from '../errno.ts';

// The calls of the C library that Node has not. This is the only file that makes native calls; nothing here may be
// touched while modules are evaluated, because the executable loads koffi's addon only when it is first used.

type Func = (...args: unknown[]) => number;

const prototypes = {
  setns: 'int setns(int fd, int type)',
  flock: 'int flock(int fd, int operation)',
  dup: 'int dup(int fd)',
  close: 'int close(int fd)',
  setsockopt: 'int setsockopt(int fd, int level, int name, void *value, uint32_t size)',
  getsockopt: 'int getsockopt(int fd, int level, int name, void *value, void *size)',
  getsockname: 'int getsockname(int fd, void *address, void *size)',
  socket: 'int socket(int family, int type, int protocol)',
  sendto: 'intptr_t sendto(int fd, void *data, size_t size, int flags, void *address, uint32_t addressSize)',
  recv: 'intptr_t recv(int fd, void *data, size_t size, int flags)',
  recvfrom: 'intptr_t recvfrom(int fd, void *data, size_t size, int flags, void *address, void *addressSize)',
  capget: 'int capget(void *header, void *data)',
  ioctl: 'int ioctl(int fd, unsigned long request, void *value)',
  _exit: 'void _exit(int code)',
  syscall: 'intptr_t syscall(long number, intptr_t a, intptr_t b, intptr_t c, intptr_t d, intptr_t e)',
  getrandom: 'intptr_t getrandom(void *bytes, size_t size, uint32_t flags)',
} as const;

type Name = keyof typeof prototypes;

let self: ReturnType<typeof koffi.load> | undefined;
const known: Partial<Record<Name, Func>> = {};

/** A function of the C library; few calls need more than two or three of them. */
function libc(name: Name): Func {
  return (known[name] ??= load(prototypes[name]));
}

/** The program itself: its symbols include the libraries it was linked to, glibc or not. */
function load(prototype: string): Func {
  self ??= koffi.load(null);
  return self.func(prototype);
}

/** As `libc`, in another thread; the last argument is called with the error or null, and the result. */
function asynchronous(name: Name): (...args: unknown[]) => void {
  return (libc(name) as unknown as {readonly async: (...args: unknown[]) => void}).async;
}

/** A failed system call, like those of node:fs: `errno` is negative, `code` its name, `syscall` the call. */
function failed(syscall: string, errno = koffi.errno()): NodeJS.ErrnoException {
  const error: NodeJS.ErrnoException = new Error(`${syscall}: ${errnoText(errno)}`);
  error.errno = -errno;
  error.code = errnoCode(errno);
  error.syscall = syscall;
  return error;
}

const cloneNewnet = 0x4000_0000;
const eintr = 4;
const eio = 5;
const eagain = 11;
const enobufs = 105;

/** Moves the calling thread into a network namespace. Throws EPERM without CAP_SYS_ADMIN, EINVAL when it is none. */
export function setns(fd: number): void {
  if (libc('setns')(fd, cloneNewnet) !== 0) throw failed('setns');
}

// The same numbers on every architecture. linux/mount.h: FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC, FSCONFIG_CMD_CREATE, MOUNT_ATTR_*.
const fsopen = 430;
const fsconfig = 431;
const fsmount = 432;
const fsCloexec = 1;
const fsconfigCreate = 6;
const attrNosuid = 2;
const attrNodev = 4;
const attrNoexec = 8;

/**
 * A new procfs of the process's pid namespace, mounted nowhere: it goes when the descriptor is closed. Throws EPERM without
 * CAP_SYS_ADMIN or where parts of /proc are hidden from the process, ENOSYS before Linux 5.2.
 */
export function mountProcfs(): number {
  const name = Buffer.allocUnsafeSlow(128).fill(0);
  name.write('proc');
  const call = libc('syscall');
  const context = call(fsopen, koffi.address(name), fsCloexec, 0, 0, 0);
  if (context < 0) throw failed('fsopen');
  try {
    if (call(fsconfig, context, fsconfigCreate, 0, 0, 0) < 0) throw failed('fsconfig');
    const fd = call(fsmount, context, fsCloexec, attrNosuid + attrNodev + attrNoexec, 0, 0);
    if (fd < 0) throw failed('fsmount');
    return fd;
  } finally {
    libc('close')(context);
  }
}

const lockShared = 1;
const lockExclusive = 2;
const lockNoWait = 4;

/**
 * flock(2): locks the open file. With `wait` the thread sleeps until it is free, so nobody else in this process
 * may hold it; without, the answer tells whether the lock was got. Closing the file gives it back.
 */
export function flock(
  fd: number,
  {exclusive, wait}: {readonly exclusive: boolean; readonly wait: boolean},
): boolean {
  const operation = (exclusive ? lockExclusive : lockShared) | (wait ? 0 : lockNoWait);
  for (;;) {
    if (libc('flock')(fd, operation) === 0) return true;
    const errno = koffi.errno();
    if (errno === eagain && !wait) return false;
    if (errno !== eintr) throw failed('flock', errno);
  }
}

const solSocket = 1;
const soSndbufForce = 32;
const soRcvbufForce = 33;
// SO_MEMINFO, since Linux 4.12: nine numbers of 32 bits, the last is SK_MEMINFO_DROPS of linux/sock_diag.h.
const soMeminfo = 55;
const memoryInfoSize = 36;
const memoryInfoDrops = 32;

/** Sets an integer option; throws ENOPROTOOPT where the kernel does not know it. */
export function setSocketOption(
  fd: number,
  option: {readonly level: number; readonly name: number},
  value: number,
): void {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  if (libc('setsockopt')(fd, option.level, option.name, bytes, 4) !== 0) throw failed('setsockopt');
}

/** Has the kernel fill `value`, whose beginning may say what is asked for. Throws like node:fs where it does not. */
export function readSocketOption(
  fd: number,
  option: {readonly level: number; readonly name: number},
  value: Buffer,
): void {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(value.length);
  if (libc('getsockopt')(fd, option.level, option.name, value, size) !== 0) throw failed('getsockopt');
}

/** Makes a socket's buffer larger, past the system's limit. `false` without the privilege. */
export function forceBuffer(fd: number, which: 'send' | 'receive', size: number): boolean {
  try {
    setSocketOption(fd, {level: solSocket, name: which === 'send' ? soSndbufForce : soRcvbufForce}, size);
    return true;
  } catch {
    return false;
  }
}

/** How many messages the kernel had no room for in a socket's buffer since it was opened; 0 where it does not say. */
export function droppedMessages(fd: number): number {
  const info = Buffer.alloc(memoryInfoSize);
  const size = Buffer.from([memoryInfoSize, 0, 0, 0]);
  if (libc('getsockopt')(fd, solSocket, soMeminfo, info, size) !== 0) return 0;
  return size.readUInt32LE() < memoryInfoSize ? 0 : info.readUInt32LE(memoryInfoDrops);
}

const afNetlink = 16;
const addressSize = 12;

/** Which netlink socket is meant: a port is unique only among those of one protocol. */
export interface NetlinkAddress {
  readonly protocol: number;
  readonly port: number;
}

function isNetlinkSocket(fd: number, {protocol, port}: NetlinkAddress): boolean {
  const address = Buffer.alloc(addressSize);
  const size = Buffer.from([addressSize, 0, 0, 0]);
  if (libc('getsockname')(fd, address, size) !== 0 || address.readUInt16LE() !== afNetlink) return false;
  return address.readUInt32LE(4) === port && getSocketOption(fd, soProtocol) === protocol;
}

const soProtocol = 38;

function getSocketOption(fd: number, name: number): number | undefined {
  const value = Buffer.alloc(4);
  const size = Buffer.from([4, 0, 0, 0]);
  return libc('getsockopt')(fd, solSocket, name, value, size) === 0 ? value.readInt32LE() : undefined;
}

/** A netlink socket that nobody else watches; close it with node:fs. */
export function openNetlinkSocket(protocol: number): number {
  const fd = libc('socket')(afNetlink, sockRaw | sockCloexec, protocol);
  if (fd < 0) throw failed('socket');
  return fd;
}

/** The lowest free descriptor: what the next open file or socket of this process gets. */
export function nextFd(): number {
  const fd = libc('dup')(0);
  if (fd < 0) throw failed('dup');
  libc('close')(fd);
  return fd;
}

/**
 * The descriptor of a netlink socket that was just opened: `guess` (from `nextFd` before), or one of those behind it, where
 * the addon itself or another thread opened something in between. `undefined` when there is none.
 */
export function findNetlinkFd(socket: NetlinkAddress, guess: number): number | undefined {
  if (isNetlinkSocket(guess, socket)) return guess;
  const last = Math.max(guess, nextFd()) + 64;
  for (let fd = guess + 1; fd <= last; fd++) if (isNetlinkSocket(fd, socket)) return fd;
  for (let fd = 3; fd < guess; fd++) if (isNetlinkSocket(fd, socket)) return fd;
  return undefined;
}

/** Sends one datagram to the kernel; gives the errno, or 0. The kernel has done its work, and answered, when this returns. */
export function sendNetlink(fd: number, datagram: Buffer): number {
  const send = libc('sendto');
  for (;;) {
    if (send(fd, datagram, datagram.length, 0, null, 0) >= 0) return 0;
    const errno = koffi.errno();
    if (errno !== eintr) return errno;
  }
}

const msgDontwait = 0x40;
const msgTrunc = 0x20;

/** Received into; made when it is first needed, because a snapshot shall not hold it. */
let netlinkBuffers: {readonly data: Buffer; readonly address: Buffer; readonly size: Buffer} | undefined;

/** What `receiveNetlink` gives where there is nothing to read, or reading failed. */
export type NothingReceived = {readonly errno: number};

/**
 * The next datagram that waits on a netlink socket, in memory of its own; undefined when somebody else than the kernel sent it.
 * EAGAIN when there is none, ENOBUFS when it was larger than 32 KiB, which the kernel never sends.
 */
export function receiveNetlink(fd: number): Buffer | undefined | NothingReceived {
  netlinkBuffers ??= {data: Buffer.alloc(32_768), address: Buffer.alloc(addressSize), size: Buffer.alloc(4)};
  const {data, address, size} = netlinkBuffers;
  size.writeUInt32LE(addressSize);
  for (;;) {
    const length = libc('recvfrom')(fd, data, data.length, msgDontwait | msgTrunc, address, size);
    if (length > data.length) return {errno: enobufs};
    if (length >= 0) return address.readUInt32LE(4) === 0 ? Buffer.from(data.subarray(0, length)) : undefined;
    const errno = koffi.errno();
    if (errno !== eintr) return {errno};
  }
}

/**
 * Sends on a connected or netlink socket from another thread, and resolves with 0, or EIO when that failed: whose errno it was
 * is not known any more.
 */
export function sendInBackground(fd: number, data: Buffer): Promise<number> {
  // Of its own: the thread may begin when the caller's is closed, and its number taken by another file.
  const own = libc('dup')(fd);
  if (own < 0) return Promise.resolve(koffi.errno());
  return new Promise((resolve) => {
    asynchronous('sendto')(own, data, data.length, 0, null, 0, (error: unknown, size: unknown) => {
      libc('close')(own);
      resolve(error === null && Number(size) === data.length ? 0 : eio);
    });
  });
}

const afInet = 2;
const afInet6 = 10;
const sockRaw = 3;
const sockNonblock = 0o4000;
const sockCloexec = 0o2000000;

/**
 * A raw IP socket that never waits; close it with node:fs. Throws EPERM without CAP_NET_RAW. `protocol` as in
 * linux/in.h (1 ICMP, 58 ICMPv6).
 */
export function openRawSocket({
  family,
  protocol,
}: {
  readonly family: 4 | 6;
  readonly protocol: number;
}): number {
  const fd = libc('socket')(family === 4 ? afInet : afInet6, sockRaw | sockNonblock | sockCloexec, protocol);
  if (fd < 0) throw failed('socket');
  return fd;
}

/** Sends one packet to an address (4 or 16 bytes), of UDP to its port. Throws EMSGSIZE when it is larger than the link or the path allows. */
export function sendPacket(fd: number, packet: Uint8Array, to: Uint8Array, port = 0): void {
  const family = to.length === 4 ? afInet : afInet6;
  // struct sockaddr_in and sockaddr_in6: family, port, (flow,) address, (scope).
  const address = Buffer.alloc(family === afInet ? 16 : 28);
  address.writeUInt16LE(family, 0);
  address.writeUInt16BE(port, 2);
  address.set(to, family === afInet ? 4 : 8);
  if (libc('sendto')(fd, packet, packet.length, 0, address, address.length) < 0) throw failed('sendto');
}

/** The next packet that came in; undefined while there is none. What is longer than 64 KiB is cut. */
export function receivePacket(fd: number): Buffer | undefined {
  const packet = Buffer.alloc(65_536);
  for (;;) {
    const size = libc('recv')(fd, packet, packet.length, 0);
    if (size >= 0) return packet.subarray(0, size);
    const errno = koffi.errno();
    if (errno === eagain) return undefined;
    if (errno !== eintr) throw failed('recv', errno);
  }
}

const afUnix = 1;
const sockDgram = 2;
const soPeercred = 17;
const longestUnixPath = 107;

/**
 * Sends one datagram to a socket of the unix family: a path, or a name of the kernel's own space behind an at sign. Does not
 * wait: throws EAGAIN where the reader's queue is full, ENOENT or ECONNREFUSED where there is none.
 */
export function sendToUnixSocket(path: string, text: string): void {
  const name = Buffer.from(path.replace(/^@/, '\0'));
  if (name.length > longestUnixPath) throw new Error(`${path} is too long for a socket`);
  // struct sockaddr_un: family, path; the end of an abstract name is that of the structure.
  const address = Buffer.alloc(2 + name.length + (name[0] === 0 ? 0 : 1));
  address.writeUInt16LE(afUnix);
  address.set(name, 2);
  const fd = libc('socket')(afUnix, sockDgram | sockNonblock | sockCloexec, 0);
  if (fd < 0) throw failed('socket');
  try {
    const data = Buffer.from(text);
    if (libc('sendto')(fd, data, data.length, 0, address, address.length) < 0) throw failed('sendto');
  } finally {
    libc('close')(fd);
  }
}

/** Who connected to a socket of the unix family, as this process sees it: SO_PEERCRED of unix(7). */
export function peerCredentials(fd: number): {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
} {
  // struct ucred: three numbers of 32 bits.
  const credentials = Buffer.alloc(12);
  const size = Buffer.from([12, 0, 0, 0]);
  if (libc('getsockopt')(fd, solSocket, soPeercred, credentials, size) !== 0) throw failed('getsockopt');
  return {
    pid: credentials.readInt32LE(0),
    uid: credentials.readUInt32LE(4),
    gid: credentials.readUInt32LE(8),
  };
}

/** That many bytes nobody can guess. node:crypto has them too, but costs every call a millisecond of its start. */
export function randomBytes(size: number): Buffer {
  const bytes = Buffer.alloc(size);
  // Up to 256 bytes come whole, and no signal is in the way (getrandom(2)).
  for (let at = 0; at < size; at += 256) {
    const part = bytes.subarray(at, at + 256);
    if (libc('getrandom')(part, part.length, 0) !== part.length) throw failed('getrandom');
  }
  return bytes;
}

const sha512Size = 64;
let digest: ((bytes: Buffer) => Buffer) | undefined;

/** SHA-512 of a text's UTF-8, by the library that Node has for it; as `randomBytes`, without node:crypto. */
export function sha512(text: string): Buffer {
  digest ??= findDigest();
  return digest(Buffer.from(text));
}

function findDigest(): (bytes: Buffer) => Buffer {
  try {
    const native = load('void *SHA512(const void *bytes, size_t size, void *digest)');
    return (bytes) => {
      const result = Buffer.alloc(sha512Size);
      native(bytes, bytes.length, result);
      return result;
    };
  } catch {
    // A Node that keeps its symbols for itself; the one that weft is made of does not.
    const {hash} = process.getBuiltinModule('node:crypto');
    return (bytes) => hash('sha512', bytes, 'buffer');
  }
}

// linux/capability.h: _LINUX_CAPABILITY_VERSION_3, whose answer are two structs of three numbers of 32 bits.
const capabilityVersion = 0x2008_0522;

/** What a process may do, one bit for each CAP_*; undefined where it is gone. */
export function effectiveCapabilities(pid: number): bigint | undefined {
  const header = Buffer.alloc(8);
  header.writeUInt32LE(capabilityVersion);
  header.writeInt32LE(pid, 4);
  const data = Buffer.alloc(24);
  if (libc('capget')(header, data) !== 0) return undefined;
  return BigInt(data.readUInt32LE(0)) | (BigInt(data.readUInt32LE(12)) << 32n);
}

// linux/sockios.h, linux/ethtool.h: ETHTOOL_GTXCSUM and ETHTOOL_STXCSUM.
const siocEthtool = 0x8946;
const ethtool = {getTransmitChecksum: 0x16, setTransmitChecksum: 0x17};

/**
 * Makes a link of the thread's namespace compute checksums itself, or leave them to what is below it. Tells whether that
 * changed anything. Throws ENODEV when it is gone, EOPNOTSUPP where the link has no choice.
 */
export function setTransmitChecksum(name: string, {offload}: {readonly offload: boolean}): boolean {
  const fd = libc('socket')(afInet, sockDgram | sockCloexec, 0);
  if (fd < 0) throw failed('socket');
  try {
    if (askEthtool(fd, name, ethtool.getTransmitChecksum, 0) === Number(offload)) return false;
    askEthtool(fd, name, ethtool.setTransmitChecksum, Number(offload));
    return true;
  } finally {
    libc('close')(fd);
  }
}

/** struct ifreq with a pointer to struct ethtool_value: both large enough that V8 does not move them. */
function askEthtool(fd: number, name: string, command: number, data: number): number {
  const value = Buffer.allocUnsafeSlow(128).fill(0);
  value.writeUInt32LE(command, 0);
  value.writeUInt32LE(data, 4);
  const request = Buffer.allocUnsafeSlow(128).fill(0);
  request.write(name, 0, 15);
  request.writeBigUInt64LE(koffi.address(value), 16);
  if (libc('ioctl')(fd, siocEthtool, request) !== 0) throw failed('ioctl');
  return value.readUInt32LE(4);
}

/**
 * Ends the process at once, without what Node and its libraries do at their end; what is written must be written. Where no
 * native call was made before, making one would take longer than that.
 */
export function exitNow(code: number): never {
  if (self !== undefined) libc('_exit')(code);
  process.exit(code);
}
