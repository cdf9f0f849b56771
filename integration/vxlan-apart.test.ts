import {attach, check, detach, pings} from './harness/attachment.ts';
import {testWith} from './harness/needs.ts';
import {makeRig, type OverlayRig} from './harness/overlay-rig.ts';
import {tryPlugin} from './harness/plugin.ts';

// What keeps networks without agent apart, and what lets containers out.

const test = testWith('root');

/** Who pings a namespace. */
const watch = `table ip watch {
  set seen { type ipv4_addr; flags dynamic; size 100; }
  chain input {
    type filter hook input priority 0;
    icmp type echo-request add @seen { ip saddr };
  }
}
`;

/** A network over the hosts of a rig: 10.N.0.0/16 with VNI N, and IPv6. */
function networkOf(rig: OverlayRig, vni: number, form: 'routed' | 'l2', more: object = {}) {
  return {
    cniVersion: '1.1.0',
    name: `net${vni}`,
    type: 'vxlan',
    delegate: {isDefaultGateway: true, ...(form === 'routed' && {bridge: `br${vni}`})},
    static: {
      form,
      vni,
      network: [`10.${vni}.0.0/16`, `fd00:${vni}::/64`],
      nodes: rig.hosts.map(({name, ipv4}, i) => ({
        name,
        publicIP: ipv4,
        subnets: [`10.${vni}.${i + 1}.0/24`, `fd00:${vni}::${i + 1}:0/112`],
      })),
    },
    ...more,
  };
}

test.serial(
  'several networks on the same hosts do not reach each other, on one host and across',
  async (t) => {
    const rig = await makeRig(t, {hosts: 2});
    const networks = [
      networkOf(rig, 5, 'routed'),
      networkOf(rig, 6, 'routed'),
      networkOf(rig, 7, 'l2'),
      networkOf(rig, 8, 'l2'),
    ];
    const pods = await Promise.all(
      networks.flatMap((conf) =>
        rig.hosts.map(async ({host, name}) => {
          return {name, host, conf, pod: await attach(host, `${conf.name}-${name}`, conf)};
        }),
      ),
    );
    // A ping that is not answered takes two seconds: all at once.
    await Promise.all(
      pods.map(async ({host, conf, pod, name}) => {
        for (const other of pods) {
          const answers = await Promise.all(
            other.pod.addresses.map((address) => pings(host, pod.name, address)),
          );
          const expected = other.conf === conf;
          const what = `${conf.name} on ${name} to ${other.conf.name} on ${other.name}`;
          t.deepEqual(answers, [expected, expected], what);
        }
      }),
    );
    for (const {host, pod} of pods) {
      const {code, stdout} = await check(host, pod);
      t.is(code, 0, stdout);
    }
  },
);

test.serial('two networks with the same addresses are refused, until one is given up', async (t) => {
  const rig = await makeRig(t, {hosts: 1});
  const {host} = rig.host('h1');
  await attach(host, 'one', networkOf(rig, 5, 'routed'));
  const same = {...networkOf(rig, 6, 'routed')};
  const conf = {
    ...same,
    static: {
      ...same.static,
      network: '10.5.128.0/17',
      nodes: [{...same.static.nodes[0]!, subnets: ['10.5.129.0/24']}],
    },
  };
  const call = {conf, netns: await host.addNetns('two'), containerId: 'two'};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(
    reply?.msg ?? '',
    /^network "net6" has 10\.5\.128\.0\/17, and network "net5" of this host 10\.5\.0\.0\/16: /,
  );
  await host.sh('nft delete table inet weft-overlay-net5; ip link del flannel.5');
  t.is((await tryPlugin(host, {...call, command: 'ADD'})).code, 0);
});

test.serial('what leaves the overlay gets the address of the host, what stays in it does not', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  const exempt = {exemptDestinations: ['192.168.50.3/32']};
  const [one, two] = [rig.host('h1'), rig.host('h2')];
  const near = await attach(one.host, 'near', networkOf(rig, 5, 'routed', exempt));
  const far = await attach(two.host, 'far', networkOf(rig, 5, 'routed', exempt));
  const seenBy = async (enter: (argv: string[]) => string[], host = rig.underlay) => {
    const {stdout} = await host.run(enter(['nft', 'list', 'set', 'ip', 'watch', 'seen']));
    return /elements = \{ ([^}]*) \}/.exec(stdout)?.[1];
  };
  const inStore = (argv: string[]) => rig.underlay.inNetns('store', argv);
  const inFar = (argv: string[]) => two.host.inNetns('far', argv);
  await rig.underlay.run(inStore(['nft', '-f', '-']), {stdin: watch});
  await two.host.run(inFar(['nft', '-f', '-']), {stdin: watch});
  t.true(await pings(one.host, 'near', '192.168.50.2'));
  t.is(await seenBy(inStore), one.ipv4);
  await rig.underlay.run(inStore(['nft', 'flush', 'set', 'ip', 'watch', 'seen']));
  // Nothing leads back to the container; that it arrives is enough.
  await pings(one.host, 'near', '192.168.50.3');
  t.is(await seenBy(inStore), near.addresses[0]);
  t.true(await pings(one.host, 'near', far.addresses[0]!));
  t.is(await seenBy(inFar, two.host), near.addresses[0]);
});

test.serial('a host whose FORWARD drops lets the overlay through', async (t) => {
  const rig = await makeRig(t, {hosts: 2});
  for (const {host} of rig.hosts) await host.sh('iptables -P FORWARD DROP; ip6tables -P FORWARD DROP');
  const conf = networkOf(rig, 5, 'routed');
  const [one, two] = [rig.host('h1').host, rig.host('h2').host];
  await attach(one, 'near', conf);
  const far = await attach(two, 'far', conf);
  for (const address of far.addresses) t.true(await pings(one, 'near', address), address);
});

test.serial(
  'packets of a host that is not on the list do not come in, unless "filter" is false',
  async (t) => {
    const rig = await makeRig(t, {hosts: 3});
    const conf = networkOf(rig, 7, 'l2');
    const without = {...conf, static: {...conf.static, nodes: conf.static.nodes.slice(0, 2)}};
    const [one, three] = [rig.host('h1').host, rig.host('h3').host];
    const near = await attach(one, 'near', without);
    // The third knows the others, they do not know it.
    const intruder = await attach(three, 'intruder', conf);
    await one.run(one.inNetns('near', ['nft', '-f', '-']), {stdin: watch});
    const seen = async () =>
      (await one.run(one.inNetns('near', ['nft', 'list', 'set', 'ip', 'watch', 'seen']))).stdout;
    const knock = () =>
      three.sh(
        `nsenter --net=/run/netns/intruder ip neigh replace ${near.addresses[0]} lladdr $1 dev eth0
      nsenter --net=/run/netns/intruder ping -c 1 -W 1 ${near.addresses[0]} || true`,
        {args: [near.result.interfaces!.find(({sandbox}) => sandbox)!.mac!]},
      );
    await knock();
    t.notRegex(await seen(), /10\.7\.3\./);
    await detach(one, near);
    await one.sh('umount /run/netns/near; rm /run/netns/near');
    const open = {...without, filter: false};
    const again = await attach(one, 'near', open);
    await one.run(one.inNetns('near', ['nft', '-f', '-']), {stdin: watch});
    await three.sh(
      `nsenter --net=/run/netns/intruder ip neigh replace ${again.addresses[0]} lladdr $1 dev eth0
    nsenter --net=/run/netns/intruder ping -c 1 -W 1 ${again.addresses[0]} || true`,
      {args: [again.result.interfaces!.find(({sandbox}) => sandbox)!.mac!]},
    );
    t.regex(await seen(), new RegExp(intruder.addresses[0]!.replaceAll('.', '\\.')));
  },
);

test.serial('what somebody flushes of nftables, CHECK tells and the next ADD brings back', async (t) => {
  const rig = await makeRig(t, {hosts: 1});
  const {host} = rig.host('h1');
  const conf = networkOf(rig, 5, 'routed');
  const one = await attach(host, 'one', conf);
  const {stdout: before} = await host.run(['nft', 'list', 'ruleset']);
  t.regex(before, /table inet weft-overlay-net5 /);
  await host.run(['nft', 'flush', 'ruleset']);
  t.regex((await check(host, one)).reply?.msg ?? '', /table inet weft-overlay-net5 is gone/);
  const two = await attach(host, 'two', conf);
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, before);
  for (const each of [one, two]) t.is((await check(host, each)).code, 0);
  t.is((await tryPlugin(host, {conf, command: 'STATUS'})).code, 0);
  // The table is there, and has nothing in it.
  await host.run(['nft', 'flush', 'table', 'inet', 'weft-overlay-net5']);
  t.regex((await check(host, one)).reply?.msg ?? '', /weft-overlay-net5/);
  await attach(host, 'three', conf);
  t.is((await host.run(['nft', 'list', 'ruleset'])).stdout, before);
  // Of all rules one; and a member more.
  await host.run(['nft', 'flush', 'chain', 'inet', 'weft-overlay-net5', 'prerouting']);
  t.regex((await check(host, one)).reply?.msg ?? '', /weft-overlay-net5 prerouting/);
  await host.run(['nft', 'flush', 'ruleset']);
  await attach(host, 'four', conf);
  await host.run(['nft', 'add element inet weft-overlay-net5 members4 { 192.0.2.99 }']);
  t.regex((await check(host, one)).reply?.msg ?? '', /192\.0\.2\.99/);
});
