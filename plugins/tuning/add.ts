import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {Undo} from '../../lib/cni/undo.ts';
import {findPrevResult} from '../../lib/cni/result.ts';
import type {Result} from '../../lib/cni/types.ts';
import type {Host, Sandbox} from '../../lib/host.ts';
import {findLink, setLink} from '../../lib/netlink/route/link.ts';
import {checkAllowed} from './allow-list.ts';
import {changeTo, isEmpty, originalsOf} from './attributes.ts';
import type {Attributes} from './attributes.ts';
import {parseTuningConf} from './conf.ts';
import type {Sysctl} from './conf.ts';
import {readState, removeState, writeState} from './state.ts';

/**
 * Changes what the configuration names, and passes on the result of the plugins before. A failure at any step puts back
 * what was changed.
 */
export async function add(call: Call, host: Host): Promise<Result> {
  const {sysctls, attributes, dataDir} = parseTuningConf(call);
  checkAllowed(sysctls.map(({key}) => key));
  const previous = findPrevResult(call);
  if (!previous)
    throw new CniError(errorCodes.invalidConfig, 'Required prevResult missing', 'tuning is for chains');
  using sandbox = host.sandbox(call.netns);
  await using undo = new Undo(call);
  for (const sysctl of sysctls) writeSysctl(sandbox, sysctl, undo);
  if (!isEmpty(attributes)) await changeLink(call, sandbox, {attributes, dataDir}, undo);
  undo.commit();
  return withAttributes(previous, call.ifName, attributes);
}

function writeSysctl({sysctl}: Sandbox, {key, path, value}: Sysctl, undo: Undo): void {
  let before: string | undefined;
  try {
    before = sysctl.read(path);
  } catch {
    // Some can only be written, as those that flush a cache; what is not there is told of below.
  }
  try {
    sysctl.write(path, value);
  } catch (cause) {
    const details = `sysctl "${key}": ${JSON.stringify(value)}`;
    throw new CniError(errorCodes.internal, (cause as Error).message, details);
  }
  if (before !== undefined) undo.add(`restore sysctl "${key}"`, () => sysctl.write(path, before));
}

async function changeLink(
  call: Call,
  sandbox: Sandbox,
  {attributes, dataDir}: {readonly attributes: Attributes; readonly dataDir: string},
  undo: Undo,
): Promise<void> {
  const {containerId, ifName} = call;
  const owner = {network: call.name, containerId, ifName};
  const link = await findLink(sandbox.rt, {name: ifName});
  if (!link) throw new Error(`failed to get "${ifName}": Link not found in ${call.netns}`);
  const originals = originalsOf(link, attributes);
  // A plugin before this one in the chain may have tuned it, too: what it found is older.
  const noted = readState(dataDir, owner);
  writeState(dataDir, owner, {...originals, ...noted});
  undo.add('take back the note of what was there', () => {
    if (noted) writeState(dataDir, owner, noted);
    else removeState(dataDir, owner);
  });
  undo.add(`restore "${ifName}"`, () => setLink(sandbox.rt, {ifindex: link.ifindex}, changeTo(originals)));
  await setLink(sandbox.rt, {ifindex: link.ifindex}, changeTo(attributes)).catch((cause: unknown) => {
    throw new Error(`failed to tune "${ifName}"`, {cause});
  });
}

/** The result says what the interface has now, where it says anything of it. */
function withAttributes(previous: Result, ifName: string, {mac, mtu}: Attributes): Result {
  return {
    ...previous,
    interfaces: previous.interfaces.map((entry) => {
      if (entry.name !== ifName) return entry;
      return {...entry, ...(mac && {mac}), ...(mtu && entry.mtu !== undefined && {mtu})};
    }),
  };
}
