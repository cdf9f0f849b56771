import {existsSync, readFileSync} from 'node:fs';
import {mkdir, rmdir, writeFile} from 'node:fs/promises';
import path from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {ExecutionContext} from 'ava';
import {startAgentOn} from './harness/agent.ts';
import {binDir, installMode, type Mode} from './harness/both-modes.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';

// A node has little memory for plugins: thirty at once live on 512 MB, with what the kernel counts as theirs.

const test = testWith('root', 'apt', 'cc');
const limitBytes = 512 * 2 ** 20;
const crowd = 30;

/** A control group for memory, by either version of the kernel's interface; undefined where none can be made. */
interface MemoryGroup {
  readonly procs: string;
  readonly peakBytes: () => number;
  readonly kills: () => number;
}

async function makeGroup(t: ExecutionContext): Promise<MemoryGroup | undefined> {
  const name = `weft-memory-${process.pid}-${Math.random().toString(36).slice(2, 8)}`;
  for (const [root, limit, peak, events, kill] of [
    [
      '/sys/fs/cgroup/memory',
      'memory.limit_in_bytes',
      'memory.max_usage_in_bytes',
      'memory.oom_control',
      /oom_kill (\d+)/,
    ],
    ['/sys/fs/cgroup', 'memory.max', 'memory.peak', 'memory.events', /oom_kill (\d+)/],
  ] as const) {
    const folder = path.join(root, name);
    try {
      await mkdir(folder);
    } catch {
      continue;
    }
    t.teardown(async () => {
      for (let i = 0; i < 50; i++) {
        const error = await rmdir(folder).catch((reason: NodeJS.ErrnoException) => reason);
        if (error?.code !== 'EBUSY') return;
        await sleep(100);
      }
    });
    if (!existsSync(path.join(folder, limit)) || !existsSync(path.join(folder, peak))) continue;
    await writeFile(path.join(folder, limit), String(limitBytes));
    const read = (file: string) => readFileSync(path.join(folder, file), 'utf8');
    return {
      procs: path.join(folder, 'cgroup.procs'),
      peakBytes: () => Number(read(peak)),
      kills: () => Number(kill.exec(read(events))?.[1] ?? 0),
    };
  }
  return undefined;
}

const megabytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

for (const mode of ['stubs', 'clients'] as const satisfies readonly Mode[]) {
  test.serial(`${crowd} ADDs at once fit ${megabytes(limitBytes)}: ${mode}`, async (t) => {
    t.timeout(300_000);
    const group = await makeGroup(t);
    const host = await makeHost(t, {plugins: await installMode(mode), agent: false});
    await host.write('/run/join', '#!/bin/sh\n[ -z "$GROUP" ] || echo 0 > "$GROUP"\nexec "$@"\n');
    await host.run(['chmod', '755', '/run/join']);
    const env = group === undefined ? {} : {GROUP: group.procs};
    if (mode === 'clients') {
      // The agent is in there too.
      await host.sh(
        'printf "#!/bin/sh\\nGROUP=%s exec /run/join %s/weft \\"\\$@\\"\\n" "$1" "$2" > /run/agent; chmod 755 /run/agent',
        {
          args: [group?.procs ?? '', binDir],
        },
      );
      await startAgentOn(host, {weft: '/run/agent'});
    }
    const conf = JSON.stringify(bridgeNetwork({name: 'crowd'}));
    const netnses = await host.addNetnses('pod', crowd);
    const outputs = await Promise.all(
      netnses.map((netns, i) =>
        host.run(['/run/join', `${binDir}/bridge`], {
          stdin: conf,
          mayFail: true,
          timeoutMs: 120_000,
          env: {
            ...env,
            CNI_COMMAND: 'ADD',
            CNI_CONTAINERID: `pod-${i}`,
            CNI_NETNS: netns,
            CNI_IFNAME: 'eth0',
            CNI_PATH: binDir,
          },
        }),
      ),
    );
    for (const {code, signal, stdout} of outputs) t.deepEqual([code, signal], [0, null], stdout);
    if (group === undefined) {
      t.log('no control group for memory can be made here: only that they succeed was seen');
      return;
    }
    t.is(group.kills(), 0);
    t.log(`at most ${megabytes(group.peakBytes())}, with the pages of files that were read`);
    t.true(group.peakBytes() > 2 ** 20, 'they must have been counted');
  });
}
