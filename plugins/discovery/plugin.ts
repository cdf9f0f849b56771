import {CniError, errorCodes} from '../../lib/cni/error.ts';
import {validAttachments} from '../../lib/cni/attachments.ts';
import {describeFailure} from '../../lib/cni/failure.ts';
import type {Call, Plugin} from '../../lib/cni/plugin.ts';
import type {Result} from '../../lib/cni/types.ts';
import {specVersions} from '../../lib/cni/versions.ts';
import {
  discoveryDirectory,
  listDiscovered,
  removeDiscovered,
  removeStaleDiscovered,
  writeDiscovered,
} from '../../lib/discovery/attachment-file.ts';
import {notifyAgent} from '../../lib/discovery/notify.ts';
import type {Host} from '../../lib/host.ts';
import {describeAttachment, requireAddresses} from './attachment.ts';
import {check} from './check.ts';
import {findPlaces, parseDiscoveryConf, type DiscoveryConf} from './conf.ts';

/** How long a call waits for the agent: less than anybody notices, more than a busy agent takes. */
const patienceMs = 300;

/** Gives containers names; README.md is its user's page. */
export const plugin: Plugin<Host> = {
  name: 'discovery',
  versions: specVersions,
  add,
  del,
  check,
  gc,
  status,
};

async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseDiscoveryConf(call);
  const result = requireAddresses(call);
  const attachment = await describeAttachment(host, conf, result);
  const file = writeDiscovered(conf.stateDir, attachment);
  try {
    await announce(call, conf, file);
  } catch (error) {
    removeDiscovered(conf.stateDir, conf.owner);
    throw error;
  }
  const {nameservers = [], search = [], options = [], ...dns} = result.dns;
  return {
    ...result,
    dns: {
      ...dns,
      nameservers: unique([...attachment.listen, ...nameservers]),
      search: unique([...search, conf.domain]),
      ...((options.length > 0 || conf.options.length > 0) && {
        options: unique([...options, ...conf.options]),
      }),
    },
  };
}

const unique = (texts: readonly string[]) => [...new Set(texts)];

/** The name answers when this returns, if an agent runs. */
async function announce(
  call: Call,
  {agentSocket, agentRequired}: DiscoveryConf,
  file: string,
): Promise<void> {
  let trouble = `no agent takes names at ${agentSocket}`;
  try {
    if ((await notifyAgent(agentSocket, {file}, {timeoutMs: patienceMs})) === 'served') return;
  } catch (error) {
    trouble = describeFailure(error);
  }
  if (agentRequired) {
    throw new CniError(
      errorCodes.tryAgainLater,
      `${trouble}: the container would have no name`,
      'start it (systemctl start weft-agent), or leave out "agentRequired"',
    );
  }
  call.warn(`network "${call.name}": ${trouble}; the name answers when it is there`);
}

/** Never fails because of the agent: it finds out by itself. */
async function del(call: Call): Promise<void> {
  const {stateDir, agentSocket} = findPlaces(call);
  const owner = {network: call.name, containerId: call.containerId, ifName: call.ifName};
  if (!removeDiscovered(stateDir, owner)) return;
  await tell(call, agentSocket, discoveryDirectory(stateDir, call.name));
}

async function gc(call: Call): Promise<void> {
  const {stateDir, agentSocket} = findPlaces(call);
  const removed = removeStaleDiscovered(stateDir, call.name, validAttachments(call));
  if (removed.length === 0) return;
  call.log.info({files: removed}, 'removed the names of containers that are gone');
  await tell(call, agentSocket, discoveryDirectory(stateDir, call.name));
}

async function tell(call: Call, socket: string, file: string): Promise<void> {
  try {
    await notifyAgent(socket, {file}, {timeoutMs: patienceMs});
  } catch (error) {
    call.log.warn({error}, 'the agent was not told');
  }
}

/** Whether names given now would answer: error 50, or 51 where containers have names that do not. */
async function status(call: Call): Promise<void> {
  const {stateDir, agentSocket} = parseDiscoveryConf(call);
  let trouble = `no agent takes names at ${agentSocket}`;
  try {
    const directory = discoveryDirectory(stateDir, call.name);
    if ((await notifyAgent(agentSocket, {file: directory}, {timeoutMs: patienceMs})) === 'served') return;
  } catch (error) {
    trouble = describeFailure(error);
  }
  const isUsed = listDiscovered(discoveryDirectory(stateDir, call.name)).length > 0;
  throw new CniError(
    isUsed ? errorCodes.limitedConnectivity : errorCodes.notAvailable,
    `${trouble}: ${isUsed ? "containers' names do not answer" : 'names would not answer'}`,
    'start it: systemctl start weft-agent',
  );
}
