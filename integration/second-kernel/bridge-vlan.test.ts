import type {ExecutionContext} from 'ava';
import {makeHost, type TestHost} from '../harness/host.ts';
import {testWith} from '../harness/needs.ts';
import {bridgeNetwork} from '../harness/networks.ts';
import {callPlugin, tryPlugin, type Reply} from '../harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from '../harness/snapshot.ts';

const test = testWith('root');
const ipam = {type: 'host-local', ranges: [[{subnet: '10.62.0.0/24'}]]};

interface PortVlans {
  readonly ifname: string;
  readonly vlans: readonly {
    readonly vlan: number;
    readonly flags?: readonly string[];
  }[];
}

/** The VLANs of the port a result names, as `10 tagged`, `100 pvid`. */
async function listVlans(host: TestHost, result: Reply): Promise<string[]> {
  const port = result.interfaces?.find(({name, sandbox}) => name.startsWith('veth') && !sandbox)?.name;
  const {stdout} = await host.run(['bridge', '-j', 'vlan', 'show']);
  const ports = JSON.parse(stdout) as PortVlans[];
  return (ports.find(({ifname}) => ifname === port)?.vlans ?? []).map(
    ({vlan, flags = []}) => `${vlan} ${flags.includes('PVID') ? 'pvid' : 'tagged'}`,
  );
}

async function attach(t: ExecutionContext, host: TestHost, name: string, conf: Record<string, unknown>) {
  const call = {conf: {...conf, type: 'bridge'}, netns: await host.addNetns(name), containerId: name};
  const result = await callPlugin(host, {...call, command: 'ADD'});
  t.is(result.ips?.length ?? 0, conf['ipam'] === ipam ? 1 : 0);
  return {...call, result, address: result.ips?.[0]?.address.split('/')[0] ?? ''};
}

const pings = async (host: TestHost, from: string, address: string) =>
  (await host.run(host.inNetns(from, ['ping', '-c', '1', '-W', '2', address]), {mayFail: true})).code === 0;

test('containers of one VLAN reach each other and no other VLAN', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const conf = bridgeNetwork({name: 'vlans', isGateway: false, ipMasq: false, ipam});
  const a = await attach(t, host, 'a', {...conf, vlan: 100});
  const b = await attach(t, host, 'b', {...conf, vlan: 100});
  const c = await attach(t, host, 'c', {...conf, vlan: 200});
  t.deepEqual(await listVlans(host, a.result), ['100 pvid']);
  t.true(await pings(host, 'a', b.address));
  t.false(await pings(host, 'a', c.address));
  for (const each of [a, b, c]) {
    await callPlugin(host, {...each, command: 'CHECK', prevResult: each.result});
    await callPlugin(host, {...each, command: 'DEL', prevResult: each.result});
  }
  await assertNothingLeft(t, host, before, [...staysByDesign, /^mount nsfs /, /^file \/run\/netns\//]);
});

test('CHECK misses a VLAN that was taken from the port', async (t) => {
  const host = await makeHost(t);
  const conf = bridgeNetwork({name: 'vlans', isGateway: false, ipMasq: false, ipam, vlan: 100});
  const a = await attach(t, host, 'a', conf);
  const port = a.result.interfaces?.find(({name}) => name.startsWith('veth'))?.name ?? '';
  await host.run(['bridge', 'vlan', 'del', 'vid', '100', 'dev', port]);
  const {code, reply} = await tryPlugin(host, {...a, command: 'CHECK', prevResult: a.result});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /vlan/i);
});

test('a trunk carries the VLANs it lists', async (t) => {
  const host = await makeHost(t);
  const vlanTrunk = [{minID: 10, maxID: 12}, {id: 20}];
  const conf = bridgeNetwork({name: 'trunk', isGateway: false, ipMasq: false, ipam: {}, vlanTrunk});
  const {result} = await attach(t, host, 'a', conf);
  const vlans = await listVlans(host, result);
  t.deepEqual(
    vlans.filter((vlan) => vlan.endsWith('tagged')),
    ['10 tagged', '11 tagged', '12 tagged', '20 tagged'],
  );
});

test('the gateway of a VLAN is an interface of its own', async (t) => {
  const host = await makeHost(t);
  const conf = bridgeNetwork({name: 'vlans', ipMasq: false, ipam, vlan: 100});
  const a = await attach(t, host, 'a', conf);
  t.true(a.result.interfaces?.some(({name}) => name === 'cni0.100'));
  t.true(await pings(host, 'a', '10.62.0.1'));
  const {stdout} = await host.run(['ip', '-o', '-4', 'address', 'show', 'dev', 'cni0.100']);
  t.regex(stdout, /10\.62\.0\.1\/24/);
  await callPlugin(host, {...a, command: 'DEL', prevResult: a.result});
});
