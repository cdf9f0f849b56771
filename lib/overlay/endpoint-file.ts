import {readdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {isStaleTag, ownerKey, type Owner} from '../cni/owner.ts';
import type {Attachment} from '../cni/types.ts';
import {ensureDirectory, isGone, removeIfThere} from '../files.ts';
import {formatIp, parseIp} from '../ip/address.ts';
import {parseMac} from '../ip/mac.ts';
import type {Endpoint} from './member.ts';
import {overlayRunDir} from './state-file.ts';

// What the CNI plugin tells the agent of the containers of an `l2` network: <runDir>/<network>/endpoints/<owner>.json, one
// file per attachment, {"ips": ["10.9.0.2"], "mac": "02:…", "owner": {…}}. The agent watches the directory.

const suffix = '.json';

/** The directory with the endpoints of an overlay network on this host. */
export function endpointDirectory(network: string, runDir: string = overlayRunDir): string {
  return join(runDir, network, 'endpoints');
}

/** Makes the directory, for whoever watches it. */
export function ensureEndpointDirectory(directory: string): void {
  ensureDirectory(directory, 0o755);
}

/** Publishes an attachment's endpoint in place of what is there; it appears whole. */
export function writeEndpoint(directory: string, owner: Owner, {ips, mac}: Endpoint): void {
  ensureEndpointDirectory(directory);
  const name = `${ownerKey(owner)}${suffix}`;
  const unfinished = join(directory, `.${name}`);
  writeFileSync(unfinished, `${JSON.stringify({ips: ips.map(formatIp), mac, owner})}\n`, {mode: 0o644});
  renameSync(unfinished, join(directory, name));
}

/** Withdraws it; what is not there is withdrawn already. */
export function removeEndpoint(directory: string, owner: Owner): void {
  removeIfThere(join(directory, `${ownerKey(owner)}${suffix}`));
}

/** Withdraws those of the CNI network's attachments that are none of `keep`; gives how many. */
export function removeStaleEndpoints(
  directory: string,
  network: string,
  keep: readonly Attachment[],
): number {
  const kept = new Set(keep.map((each) => ownerKey({network, ...each})));
  const stale = listNames(directory).filter((name) =>
    isStaleTag(`${name.replace(/^\./, '').slice(0, -suffix.length)},`, network, kept),
  );
  for (const name of stale) removeIfThere(join(directory, name));
  return stale.length;
}

/** The endpoint of one attachment, if it is published. */
export function findEndpoint(directory: string, owner: Owner): Endpoint | undefined {
  return readEndpoint(join(directory, `${ownerKey(owner)}${suffix}`));
}

/** All that are published; files that are none are passed over. */
export function listEndpoints(directory: string): readonly Endpoint[] {
  return listNames(directory)
    .filter((name) => !name.startsWith('.'))
    .map((name) => readEndpoint(join(directory, name)))
    .filter((endpoint) => endpoint !== undefined);
}

function readEndpoint(path: string): Endpoint | undefined {
  try {
    const {ips, mac} = JSON.parse(readFileSync(path, 'utf8')) as {ips: readonly string[]; mac: string};
    const read = {ips: ips.map((ip) => parseIp(ip)).filter((ip) => ip !== undefined), mac: parseMac(mac)};
    return read.mac === undefined || read.ips.length === 0 ? undefined : {ips: read.ips, mac: read.mac};
  } catch {
    return undefined;
  }
}

function listNames(directory: string): readonly string[] {
  try {
    return readdirSync(directory).filter((name) => name.endsWith(suffix));
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}
