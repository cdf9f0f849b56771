import {attachmentKeys} from '../attachments.ts';
import {checkContainerId, checkIfName, checkNetworkName} from '../environment.ts';
import {execPlugin} from '../exec.ts';
import type {Execution} from '../exec.ts';
import {findInPath} from '../find.ts';
import {sortKeys} from '../json.ts';
import {resultJson} from '../result-format.ts';
import {parseOutput} from '../result.ts';
import type {Output} from '../result.ts';
import {findKey} from '../shape.ts';
import type {Attachment, JsonObject} from '../types.ts';
import {isAtLeast, sinceVersion} from '../versions.ts';
import {findCachedResult, listCached, putCached, removeCached} from './cache.ts';
import type {CachedAttachment} from './cache.ts';
import {pluginType} from './network.ts';
import type {Network} from './network.ts';

/** What a runtime is made of: where plugins and cache are, and how a plugin is executed. */
export interface Runtime {
  readonly path: readonly string[];
  readonly cacheFolder: string;
  /** Inherited by the plugins; the CNI variables are set over it. */
  readonly env: Readonly<Record<string, string>>;
  readonly stderr: (text: string) => void;
  readonly exec?: (execution: Execution) => Promise<string>;
}

/** What is attached to a network. */
export interface AttachmentArgs extends Attachment {
  readonly netns: string;
  /** For CNI_ARGS. */
  readonly args?: readonly (readonly [string, string])[];
  /** By capability; a plugin gets those it declares. */
  readonly capabilityArgs?: JsonObject;
}

/** ADD, first plugin to last, each with the result of the one before; keeps the last result. */
export async function addNetwork(runtime: Runtime, network: Network, given: AttachmentArgs): Promise<Output> {
  const attachment = asCached(network, given);
  checkContainerId(attachment.containerId);
  checkNetworkName(network.name);
  checkIfName(attachment.ifName);
  let output: Output | undefined;
  for (const plugin of network.plugins) {
    const conf = pluginConf(network, plugin, attachment, output);
    try {
      const stdout = await call(runtime, 'ADD', plugin, conf, attachment);
      output = parseOutput(stdout, network.cniVersion);
    } catch (error) {
      throw new Error(`plugin ${describe(plugin)} failed (add)`, {cause: error});
    }
  }
  if (!output) throw new Error(`network "${network.name}" has no plugins`);
  putCached(runtime.cacheFolder, attachment, {config: network.text, output});
  return output;
}

/** DEL, last plugin to first, each with the result of the ADD. */
export async function delNetwork(runtime: Runtime, network: Network, given: AttachmentArgs): Promise<void> {
  const attachment = asCached(network, given);
  const output = isAtLeast(network.cniVersion, '0.4.0')
    ? findUsableResult(runtime, network, attachment)
    : undefined;
  for (const plugin of network.plugins.toReversed()) {
    const conf = pluginConf(network, plugin, attachment, output);
    try {
      await call(runtime, 'DEL', plugin, conf, attachment);
    } catch (error) {
      throw new Error(`plugin ${describe(plugin)} failed (delete)`, {cause: error});
    }
  }
  removeCached(runtime.cacheFolder, attachment);
}

/** A DEL does without a result that cannot be read. */
function findUsableResult(
  runtime: Runtime,
  network: Network,
  attachment: CachedAttachment,
): Output | undefined {
  try {
    return findCachedResult(runtime.cacheFolder, attachment, network.cniVersion);
  } catch {
    return undefined;
  }
}

/** What one plugin of a chain is told. */
export interface PluginInput {
  readonly type: string;
  readonly conf: JsonObject;
}

/** What CHECK tells each plugin of a chain of an attachment whose ADD gave `output`. */
export function planChecks(
  network: Network,
  attachment: CachedAttachment,
  output: Output,
): readonly PluginInput[] {
  return network.plugins.map((plugin) => ({
    type: pluginType(plugin),
    conf: sortKeys(pluginConf(network, plugin, attachment, output)) as JsonObject,
  }));
}

/** CHECK, first plugin to last; nothing for a network with `disableCheck`. */
export async function checkNetwork(runtime: Runtime, network: Network, given: AttachmentArgs): Promise<void> {
  if (!isAtLeast(network.cniVersion, sinceVersion.CHECK)) {
    throw new Error(`configuration version "${network.cniVersion}" does not support the CHECK command`);
  }
  if (network.disableCheck) return;
  const attachment = asCached(network, given);
  const output = findCachedResult(runtime.cacheFolder, attachment, network.cniVersion);
  for (const plugin of network.plugins) {
    await call(runtime, 'CHECK', plugin, pluginConf(network, plugin, attachment, output), attachment);
  }
}

/**
 * GC: a DEL for each attachment in the cache that is not in `valid`, then GC of every plugin, if the
 * network's version has it. Goes on after errors and reports them together. An empty list means
 * that all are stale; without a list the plugins get none, and refuse.
 */
export async function gcNetwork(
  runtime: Runtime,
  network: Network,
  valid: readonly Attachment[] | undefined,
): Promise<void> {
  if (network.disableGC) return;
  const failures: unknown[] = [];
  for (const stale of listStale(runtime, network, valid ?? [])) {
    try {
      await delNetwork(runtime, network, stale);
    } catch (error) {
      const {containerId, ifName} = stale;
      failures.push(new Error(`failed to delete stale attachment ${containerId} ${ifName}`, {cause: error}));
    }
  }
  if (isAtLeast(network.cniVersion, sinceVersion.GC)) {
    const list = valid?.map(({containerId, ifName}) => ({containerID: containerId, ifname: ifName}));
    const added = list ? Object.fromEntries(attachmentKeys.map((key) => [key, list])) : {};
    for (const plugin of network.plugins) {
      try {
        await call(runtime, 'GC', plugin, {...baseConf(network, plugin), ...added});
      } catch (error) {
        failures.push(new Error(`failed to GC plugin ${pluginType(plugin)}`, {cause: error}));
      }
    }
  }
  if (failures.length > 0) throw new AggregateError(failures);
}

/** What the cache knows of a network and `valid` does not: what `gcNetwork` sends a DEL for. */
export function listStale(
  {cacheFolder}: Pick<Runtime, 'cacheFolder'>,
  {name}: Pick<Network, 'name'>,
  valid: readonly Attachment[],
): readonly CachedAttachment[] {
  const kept = new Set(valid.map(({containerId, ifName}) => `${containerId}/${ifName}`));
  return listCached(cacheFolder, name).filter(
    ({containerId, ifName}) => !kept.has(`${containerId}/${ifName}`),
  );
}

/** STATUS, first plugin to last; throws the first error as it is. Nothing before 1.1.0. */
export async function statusNetwork(runtime: Runtime, network: Network): Promise<void> {
  if (!isAtLeast(network.cniVersion, sinceVersion.STATUS)) return;
  for (const plugin of network.plugins) await call(runtime, 'STATUS', plugin, baseConf(network, plugin));
}

async function call(
  {path, env, stderr, exec = execPlugin}: Runtime,
  command: string,
  plugin: JsonObject,
  conf: JsonObject,
  attachment?: CachedAttachment,
): Promise<string> {
  const {containerId = '', netns = '', ifName = '', args = []} = attachment ?? {};
  return exec({
    file: findInPath(pluginType(plugin), path),
    env: {
      ...env,
      CNI_COMMAND: command,
      CNI_CONTAINERID: containerId,
      CNI_NETNS: netns,
      CNI_ARGS: args.map(([key, value]) => `${key}=${value}`).join(';'),
      CNI_IFNAME: ifName,
      CNI_PATH: path.join(':'),
    },
    // In the order in which libcni's own maps come out: of two spellings of a key the last one counts.
    stdin: JSON.stringify(sortKeys(conf)),
    stderr,
  });
}

function baseConf({name, cniVersion}: Network, plugin: JsonObject): JsonObject {
  return {...plugin, name, cniVersion};
}

function pluginConf(
  network: Network,
  plugin: JsonObject,
  {capabilityArgs}: CachedAttachment,
  output: Output | undefined,
): JsonObject {
  const declared = (findKey(plugin, 'capabilities') ?? {}) as JsonObject;
  const runtimeConfig = Object.fromEntries(
    Object.entries(capabilityArgs).filter(([capability]) => declared[capability] === true),
  );
  return {
    ...baseConf(network, plugin),
    ...(output && {prevResult: resultJson(output.result, output.version)}),
    ...(Object.keys(runtimeConfig).length > 0 && {runtimeConfig}),
  };
}

function asCached(
  network: Network,
  {containerId, ifName, netns, args, capabilityArgs}: AttachmentArgs,
): CachedAttachment {
  return {
    network: network.name,
    containerId,
    ifName,
    netns,
    args: args ?? [],
    capabilityArgs: capabilityArgs ?? {},
  };
}

function describe(plugin: JsonObject): string {
  const name = findKey(plugin, 'name');
  return `type="${pluginType(plugin)}"${typeof name === 'string' && name !== '' ? ` name="${name}"` : ''}`;
}
