import type {ExecutionContext} from 'ava';
import type {Etcd} from './etcd.ts';
import type {TestHost} from './host.ts';
import {askDns, attachNamed, dataOf, writeResolvConf} from './names.ts';
import {waitFor, type RunningAgent} from './overlay-agent.ts';
import {agentConfig, podConf, putNetwork, startStore, storeMembership} from './overlay-cluster.ts';
import {makeRig, type RigHost} from './overlay-rig.ts';

const {cniVersion, name: network, ...vxlan} = podConf;

/** Hosts with an overlay, and names and services in etcd, on real everything. */
export async function makeCluster(t: ExecutionContext, more: Readonly<Record<string, unknown>> = {}) {
  const rig = await makeRig(t, {hosts: 2});
  const etcd = await startStore(rig);
  t.teardown(() => etcd.close());
  await putNetwork(etcd);
  const agents: RunningAgent[] = [];
  for (const host of rig.hosts) {
    const conflist = {
      cniVersion,
      name: network,
      plugins: [vxlan, {type: 'discovery', domainName: 'pods.test'}],
    };
    await host.host.write(`/etc/cni/net.d/${network}.conflist`, JSON.stringify(conflist));
    agents.push(await host.startAgent(configOf(host, etcd, more)));
  }
  return {rig, etcd, agents, hosts: rig.hosts as readonly [RigHost, RigHost]};
}

/** The configuration of an agent, with intervals that make faults quick to see. */
export function configOf(host: RigHost, etcd: Etcd, more: Readonly<Record<string, unknown>> = {}) {
  const sharing = {
    endpoints: etcd.endpoints,
    leaseTtlS: 3,
    requestTimeoutMs: 1000,
    retryMs: 50,
    retryMaxMs: 500,
    probeMs: 1000,
    snapshotMs: 50,
  };
  return {...agentConfig(host.name, storeMembership(etcd)), node: host.name, sharing, ...more};
}

/** Attaches a container of a name; gives its address. */
export async function addNamed({host}: RigHost, name: string): Promise<string> {
  await host.addNetns(name);
  const result = await attachNamed(host, network, name);
  await writeResolvConf(host, name, result);
  return result.ips!.find(({address}) => address.includes('.'))!.address.split('/')[0]!;
}

/** What a container is told of a name, in the end. */
export async function resolves(
  host: TestHost,
  netns: string,
  name: string,
  expected: readonly string[],
): Promise<number> {
  const {stdout} = await host.run(['cat', `/etc/netns/${netns}/resolv.conf`]);
  const server = /nameserver (\d+\.\S+)/.exec(stdout)![1]!;
  let found: readonly string[] = [];
  return waitFor(
    `${name} is ${expected.join(', ')}`,
    async () => {
      const [answer] = await askDns(host, netns, [{server, name}]);
      found = dataOf(answer!);
      return JSON.stringify(found) === JSON.stringify(expected);
    },
    {explain: () => found.join(', '), intervalMs: 20},
  );
}
