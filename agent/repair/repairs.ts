import {makeCall, parseConfiguration} from '../../lib/cni/call.ts';
import type {Call, Plugin, Repair} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import type {Logger} from '../../lib/log.ts';
import type {Attached} from './attachments.ts';

/** The plugins of this program. They are evaluated apart from the agent, and need a host of their own making. */
export interface Plugins {
  readonly byName: {get(name: string): Plugin<Host> | undefined};
  openHost(): Host;
}

/** The part that one plugin has in an attachment. */
export interface Share {
  readonly plugin: string;
  readonly repair: Repair<Host>;
  readonly call: Call;
}

// A plugin that has another one do its work; none of ours goes further.
const deepest = 3;

/** The parts of an attachment that can be looked at and repaired. */
export function sharesOf(plugins: Plugins['byName'], attached: Attached, log: Logger): readonly Share[] {
  return attached.plugins.flatMap(({type, conf}) => {
    let next: {readonly type: string; readonly conf: object} | undefined = {type, conf};
    for (let depth = 0; next && depth < deepest; depth++) {
      const plugin = plugins.get(next.type);
      if (!plugin) return [];
      const call = callOf(attached, next, log);
      if (plugin.repair) return [{plugin: plugin.name, repair: plugin.repair, call}];
      next = plugin.findDelegated?.(call);
    }
    return [];
  });
}

/** As a runtime's CHECK, in this process. */
function callOf(
  {owner, netns}: Attached,
  {type, conf}: {readonly type: string; readonly conf: object},
  log: Logger,
): Call {
  const {containerId, ifName} = owner;
  const stdin = JSON.stringify(conf);
  const environment = {command: 'CHECK', containerId, netns, ifName, args: '', path: '', netnsOverride: ''};
  return makeCall({
    pluginName: type,
    command: 'CHECK',
    environment,
    configuration: parseConfiguration(stdin),
    env: {PATH: process.env['PATH'] ?? ''},
    stdin,
    // A plugin says the same at every call.
    stderr: (line) => log.debug({plugin: type, containerId}, line.trimEnd()),
    callBuiltin: () => undefined,
    caller: undefined,
  });
}
