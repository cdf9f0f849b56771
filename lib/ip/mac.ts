import {randomBytes} from '../netns/native.ts';

/**
 * Reads a six-byte hardware address in the three spellings of Go's net.ParseMAC (aa:bb:cc:dd:ee:ff,
 * aa-bb-cc-dd-ee-ff, aabb.ccdd.eeff) and gives it in lower case with colons; `undefined` for anything else.
 */
export function parseMac(text: string): string | undefined {
  const bytes = /^([0-9a-f]{2}[:-]){5}[0-9a-f]{2}$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$/i;
  if (!bytes.test(text) || (text.includes(':') && text.includes('-'))) return undefined;
  return text.toLowerCase().replaceAll(/[:.-]/g, '').match(/../g)!.join(':');
}

export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

export function macFromBytes(bytes: Buffer): string {
  return bytes.toString('hex').match(/../g)?.join(':') ?? '';
}

/** A random unicast address of the locally administered kind. */
export function randomMac(): string {
  const bytes = randomBytes(6);
  bytes[0] = (bytes[0]! & 0xfc) | 0x02;
  return macFromBytes(bytes);
}
