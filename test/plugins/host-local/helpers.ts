import {mkdtempSync, readdirSync, readFileSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {ExecutionContext} from 'ava';
import {runPlugin} from '../../../lib/cni/skel.ts';
import type {Host} from '../../../lib/host.ts';
import {plugin} from '../../../plugins/host-local/plugin.ts';

/** What a call printed, decoded; of a success `code` is undefined. */
export interface Reply {
  readonly code?: number;
  readonly msg?: string;
  readonly details?: string;
  readonly ips?: readonly {readonly address: string; readonly gateway?: string}[];
  readonly routes?: readonly Record<string, unknown>[];
  readonly dns?: Record<string, unknown>;
}

export interface CallOptions {
  readonly ipam?: object | undefined;
  /** Further keys of the configuration. */
  readonly conf?: object;
  readonly id?: string;
  readonly ifName?: string;
  readonly args?: string;
}

/** A data directory of the test's own, and host-local's verbs on it. */
export function makeNetwork(t: ExecutionContext, ranges: unknown = [[{subnet: '10.1.2.0/24'}]]) {
  const root = mkdtempSync(join(tmpdir(), 'weft-host-local-'));
  t.teardown(() => rmSync(root, {recursive: true, force: true}));
  const dataDir = join(root, 'networks');
  const indexDir = join(root, 'index');
  const directory = join(dataDir, 'net1');
  const call = async (command: string, options: CallOptions = {}): Promise<Reply> => {
    const {ipam, conf = {}, id = 'c1', ifName = 'eth0', args = ''} = options;
    const stdin = {
      cniVersion: '1.1.0',
      name: 'net1',
      ipam: {type: 'host-local', dataDir, indexDir, ranges, ...ipam},
      ...conf,
    };
    let stdout = '';
    const io = {
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: id,
        CNI_IFNAME: ifName,
        CNI_NETNS: '/no/such/netns',
        CNI_PATH: '/no/such/path',
        CNI_ARGS: args,
      },
      stdin: async () => JSON.stringify(stdin),
      stdout: async (text: string) => void (stdout += text),
      stderr: (text: string) => t.log(text),
    };
    // None of its verbs touches the kernel's network.
    await runPlugin(plugin, io, {} as Host, () => undefined);
    return stdout === '' ? {} : (JSON.parse(stdout) as Reply);
  };
  return {
    root,
    dataDir,
    indexDir,
    directory,
    call,
    /** The addresses an ADD gives. */
    add: async (id: string, options: CallOptions = {}): Promise<readonly string[]> => {
      const reply = await call('ADD', {...options, id});
      if (reply.code !== undefined) throw new Error(`${reply.msg}; ${reply.details}`);
      return reply.ips!.map(({address}) => address.split('/')[0]!);
    },
    del: (id: string, options: CallOptions = {}) => call('DEL', {...options, id}),
    /** Names of the reservations. */
    reserved: () =>
      readdirSync(directory)
        .filter((name) => /^[0-9a-f]*[.:]/.test(name) && !name.startsWith('.'))
        .toSorted(),
    read: (name: string) => readFileSync(join(directory, name), 'utf8'),
  };
}
