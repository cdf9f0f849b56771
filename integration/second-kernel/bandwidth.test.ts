import {limit, limits, prepare} from '../harness/bandwidth.ts';
import {makeHost} from '../harness/host.ts';
import {testWith} from '../harness/needs.ts';
import {callPlugin} from '../harness/plugin.ts';

const test = testWith('root');

// Kernels before 6.13 answer questions about a qdisc in another way.
for (const selection of [
  {},
  {shapedSubnets: ['10.0.0.0/8']},
  {unshapedSubnets: ['10.0.0.0/8', '2001:db8::/32']},
])
  test(`a distribution's kernel sets limits and tells of them: ${JSON.stringify(selection)}`, async (t) => {
    const host = await makeHost(t);
    const pod = await prepare(host, 'pod', {...limits, ...selection});
    await callPlugin(host, {command: 'STATUS', conf: pod.call.conf});
    const prevResult = await limit(host, pod);
    await callPlugin(host, {...pod.call, command: 'CHECK', prevResult});
    t.deepEqual(await limit(host, pod), prevResult);
    await callPlugin(host, {...pod.call, command: 'DEL', prevResult});
    await callPlugin(host, {...pod, command: 'DEL', prevResult});
  });
