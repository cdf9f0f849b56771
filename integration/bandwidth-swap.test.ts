import {limit, limits, listIfbs, prepare} from './harness/bandwidth.ts';
import {ensurePackages} from './harness/debian.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {callPlugin, referenceDir, tryPlugin} from './harness/plugin.ts';

const test = testWith('root', 'apt');
// Debian's reference plugins are of 1.1.1: spec version 1.0.0 is their newest.
const cniVersion = '1.0.0';

test.before(async () => {
  await ensurePackages('reference');
});

const amounts = {
  'as in the other tests': limits,
  // What kubelets ask for: a rate, and as large a burst as 32 bits can say.
  'of a kubelet': {
    ingressRate: 10_000_000,
    ingressBurst: 4_294_967_295,
    egressRate: 1_000_000,
    egressBurst: 4_294_967_295,
  },
  odd: {ingressRate: 1_234_567, ingressBurst: 54_321, egressRate: 98_765_432_101, egressBurst: 1_000_003},
};

for (const [what, keys] of Object.entries(amounts)) {
  test(`limits ${what}: the reference finds ours right and removes them`, async (t) => {
    const host = await makeHost(t);
    const pod = await prepare(host, 'pod', keys, {cniVersion});
    const prevResult = await limit(host, pod);
    const theirs = {...pod.call, dir: referenceDir(), prevResult};
    const {code, stdout} = await tryPlugin(host, {...theirs, command: 'CHECK'});
    t.is(code, 0, stdout);
    await callPlugin(host, {...theirs, command: 'DEL'});
    t.deepEqual(await listIfbs(host), []);
    await callPlugin(host, {...pod.call, command: 'DEL', prevResult});
  });

  test(`limits ${what}: ours finds the reference's right, the same as ours, and removes them`, async (t) => {
    const host = await makeHost(t);
    const pod = await prepare(host, 'pod', keys, {cniVersion, dir: referenceDir()});
    const prevResult = await limit(host, pod);
    const ifb = (await listIfbs(host))[0] ?? '';
    t.is(prevResult.interfaces?.at(-1)?.name, ifb);
    const show = async () =>
      (await host.sh('tc -d qdisc show; tc -d filter show dev $1 parent ffff:', {args: [pod.port]})).stdout;
    // They list the redirection a second time; the packet is gone by then.
    const theirs = (await show()).replace(/\taction order 2: .*\n.*\n\n/, '');
    const {dir: _, ...ours} = pod.call;
    const {code, stdout} = await tryPlugin(host, {...ours, command: 'CHECK', prevResult});
    t.is(code, 0, stdout);
    await callPlugin(host, {...ours, command: 'DEL', prevResult});
    t.deepEqual(await listIfbs(host), []);
    await host.sh('tc qdisc del dev $1 root; tc qdisc del dev $1 ingress', {args: [pod.port]});
    await callPlugin(host, {...ours, command: 'ADD'});
    t.is(await show(), theirs);
  });
}

test('a device of the reference for another interface of the container is left alone', async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', limits, {cniVersion});
  const second = {conf: pod.conf, netns: pod.netns, containerId: 'pod', ifName: 'eth1'};
  const theirs = await limit(host, {...pod, call: {...pod.call, dir: referenceDir()}});
  const prevResult = await callPlugin(host, {...second, command: 'ADD'});
  const call = {...pod.call, ifName: 'eth1', prevResult};
  const ours = await callPlugin(host, {...call, command: 'ADD'});
  t.is((await listIfbs(host)).length, 2);
  await callPlugin(host, {...call, command: 'CHECK', prevResult: ours});
  await callPlugin(host, {...call, command: 'DEL', prevResult: ours});
  t.deepEqual(await listIfbs(host), [theirs.interfaces?.at(-1)?.name]);
});
