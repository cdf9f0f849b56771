import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';
import {findLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';
import {
  hasHit,
  isKilled,
  injecting,
  parseTrace,
  tracing,
  type Fault,
  type TracedCall,
} from './harness/strace.ts';

// What the plugin writes beside its delegate's work: faults.test.ts does the same to the delegate.

const test = testWith('root');

const quiet = {log: () => {}, timeoutMs: 20_000};
const conf = {
  cniVersion: '1.1.0',
  name: 'faults',
  type: 'vxlan',
  static: {
    form: 'l2',
    vni: 7,
    network: '10.7.0.0/16',
    nodes: [
      {name: 'a', publicIP: '192.168.1.11', subnets: ['10.7.1.0/24']},
      {name: 'b', publicIP: '192.168.1.12', subnets: ['10.7.2.0/24']},
    ],
  },
};

/** The way to other hosts stays for the next container. */
const allowed = [
  ...staysByDesign,
  /^file \/run\/(weft\/overlay\/static\/|trace|injected)/,
  /^(link|address|route \S+ \S*) (flannel\.7|br-vx7) /,
  /^nft (rule|set) .*weft-overlay-/,
];

/** Killed between writing and renaming, a name that begins with a dot is left until the next call of that kind. */
const drafts = [
  /^file \/var\/lib\/cni\/flannel\/\.weft\/\w+\/\.[\w-]+$/,
  /^file \S+\/endpoints\/\.\S+\.json$/,
];

const places = /\/var\/lib\/cni\/flannel|\/run\/weft\/overlay/;

async function trace(host: TestHost, netns: string, verb: 'ADD' | 'DEL'): Promise<TracedCall[]> {
  const call = {conf, netns, containerId: 'traced', options: quiet};
  const under = (each: string) => (each === verb ? {under: tracing('/run/trace')} : {});
  // What is made for the first container of a host stays, and those that are hit do not make it.
  await callPlugin(host, {...call, command: 'ADD'});
  await callPlugin(host, {...call, command: 'DEL'});
  await host.sh('rm -rf /run/weft/overlay', quiet);
  await callPlugin(host, {...call, command: 'ADD', ...under('ADD')});
  await callPlugin(host, {...call, command: 'DEL', ...under('DEL')});
  await callPlugin(host, {...call, command: 'GC', attachments: []});
  await host.sh('rm -rf /run/weft/overlay', quiet);
  const calls = parseTrace(await host.read('/run/trace'));
  // What follows an open of one of the files (write, close) is of it as well.
  return calls.filter(({text}, i) => places.test(text) || places.test(calls[i - 1]?.text ?? ''));
}

for (const verb of ['ADD', 'DEL'] as const)
  for (const fault of ['KILL', 'EIO'] satisfies Fault[])
    test(`${fault} at any change of a file by ${verb}: DEL and GC leave nothing, and the next ADD succeeds`, async (t) => {
      t.timeout(300_000);
      const host = await makeHost(t);
      const netns = await host.addNetns('pod');
      await host.sh(
        'ip link add uplink0 type veth peer name uplink1; ip address add 192.168.1.11/24 dev uplink0; ip link set uplink0 up; ip link set uplink1 up',
      );
      const before = await takeSnapshot(host);
      const calls = await trace(host, netns, verb);
      t.true(calls.length >= (verb === 'ADD' ? 8 : 2), `${calls.length} calls`);
      const call = {conf, netns, containerId: 'hit', options: quiet};
      let hits = 0;
      for (const [i, traced] of calls.entries()) {
        const cleanUp = i % 2 === 0 ? 'DEL' : 'GC';
        const where = `${traced.name} ${traced.nth} (${traced.text.slice(0, 80)}), then ${cleanUp}`;
        if (verb === 'DEL') await callPlugin(host, {...call, command: 'ADD'});
        const hit = await tryPlugin(host, {
          ...call,
          command: verb,
          under: injecting(traced, fault, '/run/injected'),
        });
        if (fault === 'KILL' ? isKilled(hit) : hasHit(await host.read('/run/injected'))) hits++;
        if (fault !== 'KILL' && hit.code !== 0 && hit.stdout !== '')
          t.is(typeof hit.reply?.code, 'number', `${where}: ${hit.stdout}${hit.stderr}`);
        await callPlugin(host, {...call, command: cleanUp, ...(cleanUp === 'GC' && {attachments: []})});
        t.deepEqual(await findLeft(host, before, [...allowed, ...drafts]), [], where);
        await callPlugin(host, {...call, command: 'ADD'});
        await callPlugin(host, {...call, command: 'DEL'});
        await callPlugin(host, {...call, command: 'GC', attachments: []});
        t.deepEqual(await findLeft(host, before, allowed), [], `${where}, and GC`);
        await host.sh('rm -rf /run/weft/overlay', quiet);
      }
      t.log(`${calls.length} system calls`);
      t.true(hits >= calls.length * 0.5, `${hits} of ${calls.length} were hit`);
    });
