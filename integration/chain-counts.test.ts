import type {ExecutionContext} from 'ava';
import {
  addChain,
  areAlike,
  countCalls,
  countingCalls,
  delChain,
  type CallCounts,
  type ChainCall,
  type Conflist,
} from './harness/chain.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {readDefaultConflist} from './harness/podman-chain.ts';

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('podman');
});

/** Every ADD and DEL of a container that joins those that are there, by plugin. */
async function countOne(host: TestHost, call: ChainCall): Promise<Record<string, CallCounts>> {
  const counts: Record<string, CallCounts> = {};
  const under = (verb: string) => (type: string) => countingCalls(`/run/trace-${verb}-${type}`);
  const result = await addChain(host, {...call, under: under('ADD')});
  await delChain(host, {...call, under: under('DEL')}, result);
  for (const verb of ['ADD', 'DEL'])
    for (const {type} of call.conflist.plugins)
      counts[`${verb} ${type}`] = countCalls(await host.read(`/run/trace-${verb}-${type}`));
  return counts;
}

const asksTheSame = test.macro(
  async (
    t: ExecutionContext,
    readConflist: () => Promise<Conflist>,
    capabilityArgs: (index: number) => object,
    script?: string,
  ) => {
    t.timeout(300_000);
    const conflist = await readConflist();
    const host = await makeHost(t);
    if (script !== undefined) await host.sh(script);
    const netnses = await host.addNetnses('pod', 101);
    const calls = netnses.map((netns, index): ChainCall => ({
      conflist,
      netns,
      containerId: `container-${String(index).padStart(3, '0')}`,
      capabilityArgs: {...capabilityArgs(index)},
      options: {timeoutMs: 120_000, log: () => {}},
    }));
    const probe = calls[100]!;
    await addChain(host, calls[0]!);
    // What is made once for all of them is there by now.
    const few = await countOne(host, probe);
    for (let next = 1; next < 100; next += 11)
      await Promise.all(calls.slice(next, next + 11).map((call) => addChain(host, call)));
    const many = await countOne(host, probe);
    for (const [what, counts] of Object.entries(many)) {
      const {processes, sends} = counts;
      t.true(areAlike(counts, few[what]!), `${what}: ${JSON.stringify({few: few[what], many: counts})}`);
      t.is(processes, 0, what);
      t.log(`${what}: ${sends} requests`);
    }
    const total = (verb: string) =>
      Object.entries(many).reduce((sum, [what, {sends}]) => sum + (what.startsWith(verb) ? sends : 0), 0);
    t.log(`${total('ADD')} requests for an ADD, ${total('DEL')} for a DEL`);
  },
);

const portMappings = (index: number) => ({
  portMappings: [
    {hostPort: 8000 + index, containerPort: 80, protocol: 'tcp'},
    {hostPort: 8000 + index, containerPort: 53, protocol: 'udp'},
  ],
});

test(
  "podman's default chain starts no process, and asks the kernel the same with 1 and with 100 containers",
  asksTheSame,
  async () => JSON.parse(await readDefaultConflist()) as Conflist,
  portMappings,
);

test(
  'beside tables of iptables-legacy, which only its tools can change, it starts none either',
  asksTheSame,
  async () => JSON.parse(await readDefaultConflist()) as Conflist,
  portMappings,
  `for tool in iptables-legacy ip6tables-legacy; do
    $tool -P FORWARD DROP
    $tool -t nat -A POSTROUTING -o eth9 -j MASQUERADE
  done`,
);

test(
  "Kubernetes' usual chain starts no process, and asks the kernel the same with 1 and with 100 containers",
  asksTheSame,
  async () => ({
    cniVersion: '1.0.0',
    name: 'kubernetes',
    plugins: [
      {
        type: 'bridge',
        bridge: 'cni0',
        isDefaultGateway: true,
        ipMasq: true,
        hairpinMode: true,
        ipam: {type: 'host-local', ranges: [[{subnet: '10.244.0.0/24'}], [{subnet: 'fd00:244::/64'}]]},
      },
      {type: 'portmap', capabilities: {portMappings: true}},
      {type: 'bandwidth', capabilities: {bandwidth: true}},
    ],
  }),
  (index) => ({
    ...portMappings(index),
    bandwidth: {
      ingressRate: 10_000_000,
      ingressBurst: 1_000_000,
      egressRate: 5_000_000,
      egressBurst: 500_000,
    },
  }),
);
