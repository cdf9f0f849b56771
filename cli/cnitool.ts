import {createHash} from 'node:crypto';
import {existsSync} from 'node:fs';
import {resolve} from 'node:path';
import {describeFailure} from '../lib/cni/failure.ts';
import {splitPath} from '../lib/cni/find.ts';
import {defaultCacheFolder} from '../lib/cni/runtime/cache.ts';
import {addNetwork, checkNetwork, delNetwork, gcNetwork, statusNetwork} from '../lib/cni/runtime/chain.ts';
import type {AttachmentArgs, Runtime} from '../lib/cni/runtime/chain.ts';
import {loadNetwork} from '../lib/cni/runtime/network.ts';
import type {Network} from '../lib/cni/runtime/network.ts';
import {formatResult} from '../lib/cni/result-format.ts';
import type {PluginIo} from '../lib/cni/skel.ts';
import type {JsonObject} from '../lib/cni/types.ts';

const usage = `cnitool: Add, check, remove, gc or status network interfaces from a network namespace
  cnitool add    <net> <netns>
  cnitool check  <net> <netns>
  cnitool del    <net> <netns>
  cnitool gc     <net> <netns>
  cnitool status <net> <netns>
<netns> is the path of a namespace, or its name in /var/run/netns. -i, --ifname NAME sets the interface.
Environment: CNI_PATH, NETCONFPATH (/etc/cni/net.d), CNI_IFNAME (eth0), CNI_ARGS ("K=V;K2=V2"), CAP_ARGS (JSON),
CNI_CACHE_DIR (/var/lib/cni)
`;

/**
 * The command line, environment, output and exit codes of the CNI project's cnitool. `args` are
 * the user's own; gives the exit code.
 */
export async function main(args: readonly string[], io: Omit<PluginIo, 'stdin'>): Promise<number> {
  try {
    const {verb, networkName, netns, ifName} = parseCommandLine(args);
    const verbs = {add, check: checkNetwork, del: delNetwork, gc, status: statusNetwork};
    if (!isVerb(verbs, verb) || networkName === undefined || netns === undefined) {
      io.stderr(usage);
      return verb === 'help' || verb === '--help' || verb === '-h' ? 0 : 1;
    }
    const network = loadNetwork(io.env['NETCONFPATH'] || '/etc/cni/net.d', networkName);
    const attachment = attachmentFor(netns, ifName, io.env);
    const output = await verbs[verb](runtimeOf(io), network, attachment);
    if (output !== undefined) await io.stdout(output);
    return 0;
  } catch (error) {
    io.stderr(`${describeFailure(error)}\n`);
    return 1;
  }
}

async function add(runtime: Runtime, network: Network, attachment: AttachmentArgs): Promise<string> {
  const {result, version} = await addNetwork(runtime, network, attachment);
  return formatResult(result, version);
}

/** As with the original, nothing is in use: every attachment of the network is removed. */
async function gc(runtime: Runtime, network: Network): Promise<void> {
  await gcNetwork(runtime, network, []);
}

function isVerb<T extends object>(verbs: T, name: string | undefined): name is keyof T & string {
  return name !== undefined && Object.hasOwn(verbs, name);
}

function parseCommandLine(args: readonly string[]) {
  const words: string[] = [];
  let ifName: string | undefined;
  for (let i = 0; i < args.length; i++) {
    const word = args[i]!;
    const inline = /^(?:--ifname|-i)=(.*)$/.exec(word)?.[1];
    if (inline !== undefined) ifName = inline;
    else if (word === '--ifname' || word === '-i') ifName = args[++i];
    else words.push(word);
  }
  const [verb, networkName, netns] = words;
  return {verb, networkName, netns, ifName};
}

function attachmentFor(netns: string, ifName: string | undefined, env: PluginIo['env']): AttachmentArgs {
  const path = netnsPath(netns);
  // The original derives the container's id from the path like this: either may undo what the other did.
  const id = createHash('sha512').update(path).digest('hex').slice(0, 20);
  return {
    containerId: `cnitool-${id}`,
    netns: path,
    ifName: ifName || env['CNI_IFNAME'] || 'eth0',
    args: parsePairs(env['CNI_ARGS'] ?? ''),
    capabilityArgs: parseCapabilities(env['CAP_ARGS'] ?? ''),
  };
}

/** A word without a slash is a name as `ip netns` uses them, unless it is a file here. */
function netnsPath(netns: string): string {
  const named = `/var/run/netns/${netns}`;
  if (netns.includes('/') || netns === '.' || netns === '..') return resolve(netns);
  return !existsSync(named) && existsSync(netns) ? resolve(netns) : named;
}

function parsePairs(text: string): readonly (readonly [string, string])[] {
  if (text === '') return [];
  return text.split(';').map((pair) => {
    const [key, value, ...rest] = pair.split('=');
    if (!key || !value || rest.length > 0) throw new Error(`invalid CNI_ARGS pair ${JSON.stringify(pair)}`);
    return [key, value] as const;
  });
}

function parseCapabilities(text: string): JsonObject {
  if (text === '') return {};
  try {
    const value: unknown = JSON.parse(text);
    if (value !== null && (typeof value !== 'object' || Array.isArray(value)))
      throw new Error('it is not an object');
    return (value ?? {}) as JsonObject;
  } catch (error) {
    throw new Error('invalid CAP_ARGS', {cause: error});
  }
}

function runtimeOf({env, stderr}: Omit<PluginIo, 'stdin'>): Runtime {
  const inherited = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    path: splitPath(env['CNI_PATH'] ?? ''),
    cacheFolder: env['CNI_CACHE_DIR'] || defaultCacheFolder,
    env: Object.fromEntries(inherited),
    stderr,
  };
}
