import {randomInt} from 'node:crypto';
import {closeSync} from 'node:fs';
import {setTimeout as sleep} from 'node:timers/promises';
import {familyOf, ipBytes, type Ip} from '../../lib/ip/address.ts';
import {openRawSocket, receivePacket, sendPacket, setSocketOption} from '../../lib/netns/native.ts';

/** What became of an echo request: answered, refused by our own kernel as too large, or nothing came back. */
export type Echo = 'answered' | 'too-large' | 'silent';

// linux/in.h and linux/in6.h: IP_MTU_DISCOVER and IPV6_MTU_DISCOVER; PROBE forbids fragments and looks at no cached path MTU.
const mtuDiscover = {4: {level: 0, name: 10}, 6: {level: 41, name: 23}} as const;
const probe = 3;

// RFC 792 and RFC 4443.
const protocols = {4: 1, 6: 58} as const;
const requests = {4: 8, 6: 128} as const;
const replies = {4: 0, 6: 129} as const;
const headerSizes = {4: 20, 6: 40} as const;
const icmpHeaderSize = 8;
const attempts = 3;

/**
 * Sends an unfragmentable ICMP echo request that makes an IP packet of `size` bytes, up to three times. Throws EPERM
 * without CAP_NET_RAW.
 */
export async function echo(
  to: Ip,
  {size, timeoutMs}: {readonly size: number; readonly timeoutMs: number},
): Promise<Echo> {
  const family = familyOf(to);
  const fd = openRawSocket({family, protocol: protocols[family]});
  try {
    setSocketOption(fd, mtuDiscover[family], probe);
    const identifier = randomInt(2 ** 16);
    for (let sequence = 1; sequence <= attempts; sequence++) {
      const packet = formatRequest({family, identifier, sequence, size: size - headerSizes[family]});
      try {
        sendPacket(fd, packet, ipBytes(to));
      } catch (error) {
        if (isTooLarge(error)) return 'too-large';
        throw error;
      }
      if (await isAnswered(fd, {family, identifier, timeoutMs: timeoutMs / attempts})) return 'answered';
    }
    return 'silent';
  } finally {
    closeSync(fd);
  }
}

interface Request {
  readonly family: 4 | 6;
  readonly identifier: number;
  readonly sequence: number;
  /** Of the ICMP message. */
  readonly size: number;
}

/** The message; the kernel computes ICMPv6's checksum itself. */
export function formatRequest({family, identifier, sequence, size}: Request): Buffer {
  const message = Buffer.alloc(Math.max(size, icmpHeaderSize));
  message[0] = requests[family];
  message.writeUInt16BE(identifier, 4);
  message.writeUInt16BE(sequence, 6);
  if (family === 4) message.writeUInt16BE(checksum(message), 2);
  return message;
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i]! << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const pauseMs = 2;

async function isAnswered(
  fd: number,
  {
    family,
    identifier,
    timeoutMs,
  }: {readonly family: 4 | 6; readonly identifier: number; readonly timeoutMs: number},
): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  do {
    // Node cannot be told of a raw socket's packets: look every now and then.
    for (let packet = receivePacket(fd); packet !== undefined; packet = receivePacket(fd)) {
      const message = family === 4 ? packet.subarray((packet[0]! & 0xf) * 4) : packet;
      if (message[0] === replies[family] && message.length >= 6 && message.readUInt16BE(4) === identifier)
        return true;
    }
    await sleep(pauseMs);
  } while (performance.now() < deadline);
  return false;
}

function isTooLarge(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EMSGSIZE';
}
