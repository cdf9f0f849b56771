import {attach, fakeIpam, makePluginDir} from './harness/attachment.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {tryPlugin} from './harness/plugin.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');
const network = (more: Readonly<Record<string, unknown>> = {}) =>
  bridgeNetwork({name: 'ready', cniVersion: '1.1.0', ...more});

test('STATUS is fine before the first ADD and after it, says nothing and changes nothing', async (t) => {
  const host = await makeHost(t);
  const before = await takeSnapshot(host);
  const {code, stdout, stderr} = await tryPlugin(host, {conf: network(), command: 'STATUS'});
  t.deepEqual({code, stdout, stderr}, {code: 0, stdout: '', stderr: ''});
  await assertNothingLeft(t, host, before, []);
  await attach(host, 'a', network());
  t.is((await tryPlugin(host, {conf: network(), command: 'STATUS'})).code, 0);
});

test('a configuration below 1.1.0 has no STATUS', async (t) => {
  const host = await makeHost(t);
  const {reply} = await tryPlugin(host, {conf: network({cniVersion: '1.0.0'}), command: 'STATUS'});
  t.like(reply, {code: 1, msg: 'config version does not allow STATUS'});
});

test('without CAP_NET_ADMIN STATUS is error 50 and names the capability', async (t) => {
  const host = await makeHost(t);
  for (const conf of [network(), {cniVersion: '1.1.0', name: 'l2', type: 'bridge'}]) {
    const under = ['setpriv', '--bounding-set=-net_admin', '--inh-caps=-net_admin'];
    const {code, reply} = await tryPlugin(host, {conf, command: 'STATUS', under});
    t.is(code, 1);
    t.like(reply, {code: 50, msg: 'not allowed to make bridge "cni0"'});
    t.regex(reply?.details ?? '', /CAP_NET_ADMIN/);
  }
});

test('an ADD without a capability names it and leaves no more than the bridge', async (t) => {
  const host = await makeHost(t);
  const call = {conf: network(), netns: await host.addNetns('a'), containerId: 'a'};
  const before = await takeSnapshot(host);
  for (const name of ['net_admin', 'sys_admin']) {
    const under = ['setpriv', `--bounding-set=-${name}`, `--inh-caps=-${name}`];
    const {code, reply} = await tryPlugin(host, {...call, command: 'ADD', under});
    t.is(code, 1);
    t.true(reply?.msg?.includes(`CAP_${name.toUpperCase()}`), reply?.msg);
    await assertNothingLeft(t, host, before);
  }
});

test('without CAP_SYS_ADMIN STATUS is error 50 and names the capability', async (t) => {
  const host = await makeHost(t);
  const under = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin'];
  const {code, reply} = await tryPlugin(host, {conf: network(), command: 'STATUS', under});
  t.is(code, 1);
  t.is(reply?.code, 50);
  t.regex(reply?.msg ?? '', /CAP_SYS_ADMIN/);
});

test('with a read-only /proc/sys STATUS is error 50, unless the host forwards already', async (t) => {
  const host = await makeHost(t);
  await host.sh(
    `echo 0 > /proc/sys/net/ipv4/ip_forward
    mount --bind /proc/sys /proc/sys
    mount -o remount,ro,bind /proc/sys`,
  );
  const {code, reply} = await tryPlugin(host, {conf: network(), command: 'STATUS'});
  t.is(code, 1);
  t.is(reply?.code, 50);
  t.regex(reply?.msg ?? '', /^cannot enable forwarding, which "isGateway" needs: .*read-only/i);
  t.regex(reply?.details ?? '', /sysctl -w net\.ipv4\.ip_forward=1/);
  // An ADD says the same, and leaves nothing.
  const netns = await host.addNetns('a');
  const added = await tryPlugin(host, {conf: network(), netns, containerId: 'a', command: 'ADD'});
  t.is(added.code, 1);
  t.regex(added.reply?.msg ?? '', /failed to enable forwarding.*net\.ipv4\.ip_forward=1/);
  t.is((await tryPlugin(host, {conf: network({isGateway: false}), command: 'STATUS'})).code, 0);
  await host.sh(
    `mount -o remount,rw,bind /proc/sys
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    mount -o remount,ro,bind /proc/sys`,
  );
  t.is((await tryPlugin(host, {conf: network(), command: 'STATUS'})).code, 0);
  const again = await tryPlugin(host, {conf: network(), netns, containerId: 'a', command: 'ADD'});
  t.is(again.code, 0, again.stdout);
});

test('a bridge with all its 1,023 ports is error 50, and an ADD says why it cannot', async (t) => {
  const host = await makeHost(t);
  await host.sh(
    `ip link add cni0 type bridge
    for i in $(seq 1023); do echo "link add p$i master cni0 type veth peer name q$i"; done | ip -batch -`,
    {timeoutMs: 60_000},
  );
  const {code, reply} = await tryPlugin(host, {conf: network(), command: 'STATUS'});
  t.is(code, 1);
  t.is(reply?.code, 50);
  t.is(reply?.msg, 'bridge "cni0" is full: 1023 ports, the kernel allows 1023');
  const call = {conf: network(), netns: await host.addNetns('a'), containerId: 'a'};
  const before = await takeSnapshot(host);
  const added = await tryPlugin(host, {...call, command: 'ADD'});
  t.is(added.code, 1);
  t.regex(added.reply?.msg ?? '', /bridge "cni0" is full|1,?023/);
  await assertNothingLeft(t, host, before, [
    /^file \/var\/lib\/cni\/networks\/ready\/l/,
    /^file \/run\/weft/,
  ]);
  await host.run(['ip', 'link', 'del', 'p7']);
  t.is((await tryPlugin(host, {conf: network(), command: 'STATUS'})).code, 0);
  t.is((await tryPlugin(host, {...call, command: 'ADD'})).code, 0);
});

test("a device of another kind under the bridge's name is error 50", async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type veth peer name other');
  const {reply} = await tryPlugin(host, {conf: network(), command: 'STATUS'});
  t.like(reply, {code: 50, msg: '"cni0" already exists but is not a bridge: it is a veth'});
});

test('a bridge that filters no VLANs is error 50 where the network has one', async (t) => {
  const host = await makeHost(t);
  await host.sh('ip link add cni0 type bridge');
  const {reply} = await tryPlugin(host, {conf: network({vlan: 7}), command: 'STATUS'});
  t.is(reply?.code, 50);
  t.regex(reply?.msg ?? '', /^"cni0" does not filter VLANs/);
  t.regex(reply?.details ?? '', /vlan_filtering 1/);
  const call = {conf: network({vlan: 7}), netns: await host.addNetns('a'), containerId: 'a'};
  const added = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(
    added.reply?.msg ?? '',
    /^"cni0" does not filter VLANs, which "vlan" and "vlanTrunk" need.*vlan_filtering 1/,
  );
});

test('what IPAM says of its readiness is passed on', async (t) => {
  const host = await makeHost(t);
  const dir = await makePluginDir(host, {
    away: `echo '{"code":51,"msg":"the database is away","details":"again at noon"}'; exit 1`,
    ready: fakeIpam({}),
  });
  const away = await tryPlugin(host, {conf: network({ipam: {type: 'away'}}), command: 'STATUS', dir});
  t.is(away.code, 1);
  t.like(away.reply, {code: 51, msg: 'the database is away', details: 'again at noon'});
  const ready = await tryPlugin(host, {conf: network({ipam: {type: 'ready'}}), command: 'STATUS', dir});
  t.is(ready.code, 0);
});

test('an IPAM plugin that is not there makes STATUS fail', async (t) => {
  const host = await makeHost(t);
  const {code, reply} = await tryPlugin(host, {conf: network({ipam: {type: 'gone'}}), command: 'STATUS'});
  t.is(code, 1);
  t.regex(reply?.msg ?? '', /^failed to find plugin "gone"/);
});

test('an invalid configuration makes STATUS fail as it would an ADD', async (t) => {
  const host = await makeHost(t);
  const {code, reply} = await tryPlugin(host, {conf: network({vlan: 5000}), command: 'STATUS'});
  t.is(code, 1);
  t.is(reply?.code, 7);
});
