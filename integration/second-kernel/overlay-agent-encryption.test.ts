import {setTimeout} from 'node:timers/promises';
import {getLink} from '../../lib/netlink/route/link.ts';
import {openRouteSocket} from '../../lib/netlink/route/socket.ts';
import {Netns} from '../../lib/netns/netns.ts';
import {pings} from '../harness/attachment.ts';
import {testWith} from '../harness/needs.ts';
import {addPod, agentConfig, startStatic, staticFile} from '../harness/overlay-cluster.ts';
import {makeRig, type RigHost} from '../harness/overlay-rig.ts';
import {sniff} from '../harness/sniffer.ts';

const test = testWith('root');

const word = 'weft-clear-text!';
const fileOf = (id: number) => `/etc/weft/overlay-${id}.key`;
const encryption = (...ids: number[]) => ({secrets: ids.map((id) => ({id, file: fileOf(id)}))});
// qemu is slow.
const patient = {timeoutMs: 120_000};

async function until(condition: () => Promise<boolean>): Promise<boolean> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline;) {
    if (await condition()) return true;
    await setTimeout(300);
  }
  return false;
}

test('agents encrypt a network, mend it, and change its secret', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const [h1, h2] = rig.hosts as [RigHost, RigHost];
  for (const {host} of rig.hosts)
    for (const id of [0, 1]) await host.write(fileOf(id), `${String(id).repeat(40)}\n`);
  const agents = await startStatic(rig, {
    config: {network: {encryption: encryption(0)}},
    options: patient,
  });
  const [one, two] = [await addPod(h1, 'one'), await addPod(h2, 'two')];
  using netns = Netns.open(`/proc/${h2.host.pid}/ns/net`);
  const rt = netns.run(() => openRouteSocket());
  t.teardown(() => rt.close());
  t.true((await getLink(rt, {name: 'wg1.0'})).up);

  const sniffer = await sniff({netns, rt}, 'eth0', [word]);
  const send = (address: string, ...more: string[]) =>
    h1.host.run(
      h1.host.inNetns('one', [
        ...['ping', '-c', '3', '-i', '0.3', '-W', '10', '-p', Buffer.from(word).toString('hex')],
        ...more,
        address,
      ]),
      {timeoutMs: 60_000},
    );
  await t.notThrowsAsync(send(two.ipv4));
  await t.notThrowsAsync(send(two.ipv6));
  // As large as the subnet file says.
  const mtu = Number(/FLANNEL_MTU=(\d+)/.exec(await h1.host.read('/run/flannel/subnet.env'))?.[1]);
  t.is(mtu, 1500 - 60 - 70);
  await t.notThrowsAsync(send(two.ipv4, '-M', 'do', '-s', String(mtu - 28)));

  // Others take the tunnel away: it comes back by itself.
  await h1.host.run(['ip', 'link', 'del', 'wg1.0']);
  t.true(await until(() => pings(h1.host, 'one', two.ipv4)));

  // Another secret: known to all, used by one after the other, and then the old one goes.
  const witness = h2.host.run(
    h2.host.inNetns('two', ['ping', '-i', '0.2', '-c', '150', '-W', '10', one.ipv4]),
    {timeoutMs: 120_000},
  );
  for (const [host, ids] of [
    [h1, [0, 1]],
    [h2, [0, 1]],
    [h1, [1, 0]],
    [h2, [1, 0]],
    [h1, [1]],
    [h2, [1]],
  ] as const) {
    const config = agentConfig(
      host.name,
      {type: 'static', file: staticFile},
      {network: {encryption: encryption(...ids)}},
    );
    await host.host.write('/etc/weft/agent.json', JSON.stringify(config));
    await agents.get(host.name)!.kill('HUP');
    const wanted = ids.map((id) => `wg1.${id}`).toSorted();
    const names = async () => {
      const {stdout} = await host.host.run(['ip', '-br', 'link', 'show', 'type', 'wireguard']);
      return (
        stdout
          .match(/^wg[\d.]+/gm)
          ?.toSorted()
          .join() ?? ''
      );
    };
    t.true(await until(async () => (await names()) === wanted.join()), ids.join());
    await setTimeout(500);
  }
  t.regex((await witness).stdout, /, 0% packet loss/);
  t.is((await sniffer.stop())[word], 0);
});
