import {attach, type Attached} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin} from './harness/plugin.ts';
import {tracing} from './harness/strace.ts';

const test = testWith('root');
const conf = bridgeNetwork({name: 'costs', cniVersion: '1.1.0'});
const trace = '/run/trace';

/** What a call asks of the kernel, of the file system, and of other processes. */
interface Cost {
  readonly datagrams: number;
  readonly reservations: number;
  readonly processes: number;
  /** Files opened below /proc/sys: each takes longer the more network namespaces there are. */
  readonly sysctls: number;
}

/** Runs a call and counts; `strace` follows every thread and process. */
async function costOf(host: TestHost, call: Parameters<typeof callPlugin>[1]): Promise<Cost> {
  const what = 'trace=execve,sendto,sendmsg,openat,open';
  const under = tracing(trace).map((word) => (word.startsWith('trace=') ? what : word));
  await callPlugin(host, {...call, under, options: {log: () => {}}});
  const lines = (await host.read(trace)).split('\n');
  return {
    datagrams: lines.filter((line) => /\bsend(to|msg)\(\d+<(socket|NETLINK)/.test(line)).length,
    reservations: lines.filter((line) => /\bopen(at)?\(.*networks\/costs\/[0-9a-f]+[.:]/.test(line)).length,
    processes: lines.filter((line) => /\bexecve\(.*= 0$/.test(line)).length,
    sysctls: lines.filter((line) => /\bopen(at)?\(.*\/sys\/net\//.test(line)).length,
  };
}

/** ADD, CHECK and DEL of one more container. */
async function costs(host: TestHost): Promise<Record<'ADD' | 'CHECK' | 'DEL', Cost>> {
  const call = {conf, netns: '/run/netns/one', containerId: 'one'};
  const ADD = await costOf(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  const prevResult = await callPlugin(host, {...call, command: 'ADD'});
  const CHECK = await costOf(host, {...call, command: 'CHECK', prevResult});
  const DEL = await costOf(host, {...call, command: 'DEL', prevResult});
  return {ADD, CHECK, DEL};
}

test('a call asks as much of the system with 60 containers as with one, and starts no process', async (t) => {
  const host = await makeHost(t);
  await host.addNetns('one');
  await attach(host, 'first', conf);
  const few = await costs(host);
  const attached: Promise<Attached>[] = [];
  for (let i = 0; i < 60; i++) attached.push(attach(host, `other-${i}`, conf));
  await Promise.all(attached);
  const many = await costs(host);
  t.log(few);
  for (const verb of ['ADD', 'CHECK', 'DEL'] as const) {
    const {datagrams, ...others} = many[verb];
    const {datagrams: fewDatagrams, ...fewOthers} = few[verb];
    t.deepEqual(others, fewOthers, verb);
    // The kernel may have removed a link before it is asked whether it is gone.
    t.true(Math.abs(datagrams - fewDatagrams) <= 1, `${verb}: ${fewDatagrams}, then ${datagrams}`);
    // The plugin itself.
    t.is(many[verb].processes, 1, verb);
    t.true(many[verb].datagrams > 3, verb);
  }
  t.true(few.ADD.datagrams <= 10);
  // Of the container's interface ndisc_notify, accept_dad and keep_addr_on_down; disable_ipv6 of its lo.
  t.true(few.ADD.sysctls <= 4);
  t.is(few.CHECK.sysctls, 0);
  t.is(few.DEL.sysctls, 0);
});
