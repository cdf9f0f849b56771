import type {Ip} from '../../ip/address.ts';
import {ipFromBytes} from '../../ip/address.ts';
import type {Cidr} from '../../ip/cidr.ts';

// Not imported: calls of plugins share this file's snapshot, and do without.
const crypto = () => process.getBuiltinModule('node:crypto');

/** A secret that all hosts of a network have; who has it is a member, and can read all. */
export interface OverlaySecret {
  /** 0 to 15: tells secrets apart while one takes the place of another. */
  readonly id: number;
  /** At least 32 bytes that nobody can guess. */
  readonly secret: Uint8Array;
}

/** What is derived from the secret for one host. */
export interface HostKeys {
  /** X25519, 32 bytes each. */
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

const keyBytes = 32;
const leastBytes = 32;
const mostIds = 16;

/** Reads a secret: its text without white space around, which has to be 32 bytes long or more. */
export function parseSecret(id: number, text: string): OverlaySecret {
  const secret = Buffer.from(text.trim());
  if (!Number.isInteger(id) || id < 0 || id >= mostIds)
    throw new Error(`the id of a secret is 0 to ${mostIds - 1}, not ${id}`);
  if (secret.length < leastBytes) {
    throw new Error(
      `the secret ${id} has ${secret.length} bytes: make one of at least ${leastBytes} (openssl rand -base64 32)`,
    );
  }
  return {id, secret};
}

// PKCS #8 of an X25519 key (RFC 8410): what is before the 32 bytes themselves.
const pkcs8 = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** The keys of one host: every member can derive those of all, so none has to be told. */
export function deriveHostKeys({secret}: OverlaySecret, network: string, host: string): HostKeys {
  const privateKey = derive(secret, ['wireguard', network, host]);
  const {createPrivateKey, createPublicKey} = crypto();
  const key = createPrivateKey({key: Buffer.concat([pkcs8, privateKey]), format: 'der', type: 'pkcs8'});
  const spki = createPublicKey(key).export({format: 'der', type: 'spki'});
  return {privateKey, publicKey: spki.subarray(-keyBytes)};
}

/** The key that two hosts share beside the exchange, whichever of them asks. */
export function derivePresharedKey(
  {secret}: OverlaySecret,
  network: string,
  hosts: readonly [string, string],
): Uint8Array {
  return derive(secret, ['preshared', network, ...hosts.toSorted()]);
}

function derive(secret: Uint8Array, info: readonly string[]): Buffer {
  const salt = 'weft overlay encryption 1';
  return Buffer.from(crypto().hkdfSync('sha256', secret, salt, JSON.stringify(info), keyBytes));
}

/** The network that the hosts of an encrypted overlay have among themselves: fd00::/8, of the secret with this id. */
export function tunnelPrefix(network: {readonly name: string; readonly vni: number}, id: number): Cidr {
  const digest = sha256(['prefix', network.name, String(network.vni), String(id)]);
  const bytes = Buffer.alloc(16);
  bytes[0] = 0xfd;
  digest.copy(bytes, 1, 0, 7);
  return {ip: ipFromBytes(bytes), prefix: 64};
}

/** A host's address in it: the same for ever, and known to all. */
export function tunnelAddress(prefix: Cidr, host: string): Ip {
  const bytes = Buffer.alloc(16);
  bytes.writeBigUInt64BE(prefix.ip.value >> 64n, 0);
  sha256(['address', host]).copy(bytes, 8, 0, 8);
  return ipFromBytes(bytes);
}

function sha256(parts: readonly string[]): Buffer {
  return crypto().createHash('sha256').update(JSON.stringify(parts)).digest();
}
