import type {Call, Plugin} from '../../../lib/cni/plugin.ts';
import {runPlugin} from '../../../lib/cni/skel.ts';
import type {FindBuiltin, PluginIo} from '../../../lib/cni/skel.ts';
import type {Result} from '../../../lib/cni/types.ts';
import {specVersions} from '../../../lib/cni/versions.ts';

export const emptyResult: Result = {interfaces: [], ips: [], routes: [], dns: {}};

/** A plugin that does nothing but remember its calls. */
export function fakePlugin(verbs: Partial<Plugin<unknown>> = {}): Plugin<unknown> & {readonly calls: Call[]} {
  const calls: Call[] = [];
  const remember = async (call: Call) => void calls.push(call);
  return {
    calls,
    name: 'fake',
    versions: specVersions,
    add: async (call) => {
      calls.push(call);
      return emptyResult;
    },
    del: remember,
    check: remember,
    gc: remember,
    status: remember,
    ...verbs,
  };
}

/** The environment of an ADD; `undefined` removes a variable. */
export function environment(changes: Record<string, string | undefined> = {}) {
  return {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'container1',
    CNI_NETNS: '/no/such/netns',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/no/such/path',
    ...changes,
  };
}

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** How often stdin was asked for. */
  readonly reads: number;
}

/** Runs a plugin as a process would be run. */
export async function run(
  plugin: Plugin<unknown>,
  {
    env = environment(),
    stdin = '{"cniVersion":"1.0.0","name":"net1"}',
    findBuiltin = () => undefined,
    io = {},
  }: {
    readonly env?: Record<string, string | undefined>;
    readonly stdin?: string;
    readonly findBuiltin?: FindBuiltin<unknown>;
    readonly io?: Partial<PluginIo>;
  } = {},
): Promise<Run> {
  let [stdout, stderr, reads] = ['', '', 0];
  const code = await runPlugin(
    plugin,
    {
      env,
      stdin: async () => {
        reads++;
        return stdin;
      },
      stdout: async (text) => void (stdout += text),
      stderr: (text) => void (stderr += text),
      ...io,
    },
    undefined,
    findBuiltin,
  );
  return {code, stdout, stderr, reads};
}

/** The call that a plugin sees for this configuration. */
export async function callFor(conf: object, env: Record<string, string | undefined> = {}): Promise<Call> {
  const plugin = fakePlugin();
  const stdin = JSON.stringify({cniVersion: '1.0.0', name: 'net1', ...conf});
  const {stdout} = await run(plugin, {env: environment(env), stdin});
  const [call] = plugin.calls;
  if (!call) throw new Error(`the plugin was not called: ${stdout}`);
  return call;
}
