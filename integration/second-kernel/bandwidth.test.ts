import {limit, limits, prepare} from '../harness/bandwidth.ts';
import {makeHost} from '../harness/host.ts';
import {testWith} from '../harness/needs.ts';
import {callPlugin} from '../harness/plugin.ts';

const test = testWith('root');

// Kernels before 6.13 answer questions about a qdisc in another way. With subnets every kind of object is used.
test("a distribution's kernel sets limits and tells of them", async (t) => {
  const host = await makeHost(t);
  const pod = await prepare(host, 'pod', {...limits, unshapedSubnets: ['10.0.0.0/8', '2001:db8::/32']});
  await callPlugin(host, {command: 'STATUS', conf: pod.call.conf});
  const prevResult = await limit(host, pod);
  await callPlugin(host, {...pod.call, command: 'CHECK', prevResult});
  t.deepEqual(await limit(host, pod), prevResult);
  await callPlugin(host, {...pod.call, command: 'DEL', prevResult});
});
