import {check, listAddresses, pings, showLink} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {waitFor} from './harness/overlay-agent.ts';
import {
  addPod,
  agentConfig,
  putNetwork,
  removePod,
  startStore,
  storeMembership,
  type Pod,
} from './harness/overlay-cluster.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';

// The plugin beside weft agent, for what the agent's own tests do not look at: networks of the form l2, and several at once.

const test = testWith('root');

const conf = {cniVersion: '1.1.0', name: 'pods', type: 'vxlan', delegate: {isDefaultGateway: true}};

test.serial(
  'l2: containers are published to the other hosts, found without asking, and withdrawn',
  async (t) => {
    t.timeout(240_000);
    const rig = await makeRig(t, {hosts: 2});
    const etcd = await startStore(rig);
    t.teardown(() => etcd.close());
    await putNetwork(etcd, {IPv6Network: 'fd00:244::/64', IPv6SubnetLen: 112});
    const [h1, h2] = [rig.host('h1'), rig.host('h2')];
    t.like((await tryPlugin(h1.host, {conf, command: 'STATUS'})).reply, {code: 50});
    for (const host of rig.hosts)
      await host.startAgent(agentConfig(host.name, storeMembership(etcd), {network: {form: 'l2'}}));
    for (const {host} of rig.hosts) await callPlugin(host, {conf, command: 'STATUS'});
    const pods: Pod[] = [];
    for (const host of rig.hosts) pods.push(await addPod(host, 'pod', conf));
    const [one, two] = pods as [Pod, Pod];
    // One subnet: no gateway between them.
    t.regex(two.result.ips?.[0]?.address ?? '', /^10\.244\.\d+\.\d+\/16$/);
    const macOf = ({result}: Pod) => result.interfaces?.find(({sandbox}) => sandbox)?.mac ?? '';
    const knows = async (pod: Pod) => {
      const {stdout} = await h1.host.sh('ip neigh show dev flannel.1; bridge fdb show dev flannel.1');
      const ofMac = stdout.split('\n').filter((line) => line.includes(macOf(pod)));
      return ofMac.filter((line) => !line.includes('master')).length;
    };
    // Two addresses, and one forwarding entry.
    await waitFor('the other host to be told', async () => (await knows(two)) === 3, {timeoutMs: 20_000});
    const back = async () =>
      /permanent/i.test(
        (await h2.host.sh(`bridge fdb show dev flannel.1 | grep ${macOf(one)} || true`)).stdout,
      );
    await waitFor('the way back', back, {timeoutMs: 20_000});
    // What a container asks does not leave its host: the type of the frame inside, behind UDP, VXLAN and two addresses.
    const watch = `table inet watch {
    chain in {
      type filter hook prerouting priority -400;
      udp dport 8472 @th,224,16 0x0806 counter;
    }
  }
  `;
    for (const {host} of rig.hosts) await host.run(['nft', '-f', '-'], {stdin: watch});
    for (const address of [two.ipv4, two.ipv6]) t.true(await pings(h1.host, 'pod', address), address);
    for (const address of [one.ipv4, one.ipv6]) t.true(await pings(h2.host, 'pod', address), address);
    for (const {host} of rig.hosts)
      t.regex((await host.run(['nft', 'list', 'table', 'inet', 'watch'])).stdout, /counter packets 0 /);
    t.true(await pings(h1.host, 'pod', '10.244.0.1'));
    t.deepEqual(await listAddresses(h1.host, 'br-vx1'), ['10.244.0.1/16', 'fd00:244::1/64']);
    t.is((await showLink(h1.host, 'br-vx1')).address, (await showLink(h2.host, 'br-vx1')).address);
    for (const pod of [one, two]) {
      const {code, stdout} = await check(pod.host.host, {
        ...pod.call,
        name: 'pod',
        result: pod.result,
        addresses: [],
        port: '',
        netns: '/run/netns/pod',
        containerId: `${pod.host.name}-pod`,
      });
      t.is(code, 0, stdout);
    }
    await removePod(two);
    await waitFor('the other host to be told', async () => (await knows(two)) === 0, {timeoutMs: 20_000});
    // A bridge that the agent did not make its tunnel a port of is refused.
    const other = {...conf, delegate: {bridge: 'cni0'}};
    t.regex(
      (await tryPlugin(h1.host, {conf: other, command: 'STATUS'})).reply?.msg ?? '',
      /delegate\.bridge is "cni0"/,
    );
    t.regex(
      (await tryPlugin(h1.host, {conf: {...conf, form: 'routed'}, command: 'STATUS'})).reply?.msg ?? '',
      /"form" is "routed"/,
    );
  },
);
