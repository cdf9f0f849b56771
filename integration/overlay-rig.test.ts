import {setTimeout} from 'node:timers/promises';
import {testWith} from './harness/needs.ts';
import {makeRig} from './harness/overlay-rig.ts';
import {startWitness} from './harness/overlay-witness.ts';

const test = testWith('root');

test('the rig: a segment, a host behind a narrow link, and a witness that sees what is lost', async (t) => {
  const rig = await makeRig(t, {hosts: 2, far: true});
  const h1 = rig.host('h1').host;
  // Link-local addresses of routers are tentative for a while.
  const reaches = async (address: string) =>
    (
      await h1.sh('for i in $(seq 20); do ping -c 1 -W 1 "$1" >/dev/null && exit; sleep 0.2; done; exit 1', {
        args: [address],
        mayFail: true,
        timeoutMs: 60_000,
      })
    ).code;
  for (const address of [
    rig.host('h2').ipv4,
    rig.host('h2').ipv6,
    rig.host('far').ipv4,
    rig.host('far').ipv6,
  ])
    t.is(await reaches(address), 0, address);
  for (const address of rig.storeAddresses) t.is(await reaches(address), 0, address);

  const large = await h1.run(['ping', '-c', '2', '-M', 'do', '-s', '1400', rig.host('far').ipv4], {
    mayFail: true,
  });
  t.regex(large.stdout, /mtu ?= ?1400/);

  const quiet = await startWitness({host: h1}, {host: rig.host('h2').host, address: rig.host('h2').ipv4});
  const broken = await startWitness({host: h1}, {host: rig.host('far').host, address: rig.host('far').ipv6});
  await setTimeout(300);
  await rig.underlay.run(rig.underlay.inNetns('routera', ['ip', 'link', 'set', 'narrow', 'down']));
  await setTimeout(400);
  await rig.underlay.sh(
    `nsenter --net=/run/netns/routera ip link set narrow up
    nsenter --net=/run/netns/routera ip address add fd00:70::1/64 dev narrow nodad
    nsenter --net=/run/netns/routera ip -6 route add fd00:60::/64 via fd00:70::2`,
  );
  await setTimeout(2500);
  const calm = await quiet.report();
  t.is(calm.lost, 0);
  t.is(calm.tcp.closed, null);
  t.is(calm.tcp.answered, calm.tcp.sent);
  const cut = await broken.report();
  t.log(JSON.stringify(cut));
  t.true(cut.lost >= 5);
  t.true(cut.longestLossMs >= 200);
  t.true(cut.tcp.longestStallMs >= 200);
});
