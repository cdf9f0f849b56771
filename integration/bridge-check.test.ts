import type {ExecutionContext} from 'ava';
import {attach, check, type Attached} from './harness/attachment.ts';
import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {tryPlugin} from './harness/plugin.ts';

const test = testWith('root');

interface Tampering {
  readonly title: string;
  /** Keys of the configuration beside those of a masqueraded dual stack gateway. */
  readonly conf?: Readonly<Record<string, unknown>>;
  /** Shell script on the host; $1 is the container's host end, $2 its namespace. */
  readonly script: string;
  readonly says: RegExp;
}

const inside = 'netns=$2; inside() { nsenter --net=$netns "$@"; }\n';

const tamperings: readonly Tampering[] = [
  {
    title: 'an address of the container is gone',
    script: `${inside}inside ip address del 10.61.0.2/24 dev eth0; inside ip route add default dev eth0`,
    says: /Failed to match addr 10\.61\.0\.2\/24 on interface eth0/,
  },
  {
    title: 'an address of the container has another prefix',
    script: `${inside}inside ip -6 address del 2001:db8:61::2/64 dev eth0; inside ip -6 address add 2001:db8:61::2/48 dev eth0`,
    says: /Failed to match addr 2001:db8:61::2\/64 on interface eth0/,
  },
  {
    title: 'a default route of the container is gone',
    script: `${inside}inside ip route del default`,
    says: /Expected Route 0\.0\.0\.0\/0 not found in routing table/,
  },
  {
    title: 'an IPv6 route of the container is gone',
    script: `${inside}inside ip -6 route del default`,
    says: /Expected Route ::\/0 not found in routing table/,
  },
  {
    title: 'a default route leads elsewhere',
    conf: {isDefaultGateway: true},
    script: `${inside}inside ip route replace default via 10.61.0.99`,
    says: /Expected Route 0\.0\.0\.0\/0 via 10\.61\.0\.1 not found in routing table/,
  },
  {
    title: 'the interface of the container is down',
    script: `${inside}inside ip link set eth0 down`,
    says: /Interface "eth0" is down in the container/,
  },
  {
    title: 'the interface of the container is gone',
    script: `${inside}inside ip link del eth0`,
    says: /Interface "eth0" is gone from the container/,
  },
  {
    title: 'the interface of the container has another name',
    script: `${inside}inside ip link set eth0 down; inside ip link set eth0 name eth9; inside ip link set eth9 up`,
    says: /Interface "eth0" is gone from the container/,
  },
  {
    title: 'the interface of the container is of another kind',
    script: `${inside}inside ip link del eth0; inside ip link add eth0 type bridge`,
    says: /Container interface "eth0" is not a veth/,
  },
  {
    title: 'the container has another MAC',
    script: `${inside}inside ip link set eth0 address 02:00:00:00:00:01`,
    says: /Interface eth0 Mac \S+ doesn't match: it is 02:00:00:00:00:01/,
  },
  {
    title: 'the host end has another MAC',
    script: 'ip link set $1 address 02:00:00:00:00:01',
    says: /Interface veth\w+ Mac \S+ doesn't match: it is 02:00:00:00:00:01/,
  },
  {
    title: 'the bridge has another MAC',
    script: 'ip link set cni0 address 02:00:00:00:00:01',
    says: /Interface cni0 Mac \S+ doesn't match: it is 02:00:00:00:00:01/,
  },
  {
    title: 'the host end left the bridge',
    script: 'ip link set $1 nomaster',
    says: /host interface "veth\w+" is not a port of bridge "cni0"; ip link set veth\w+ master cni0/,
  },
  {
    title: 'the host end is in another bridge',
    script: 'ip link add other type bridge; ip link set $1 master other',
    says: /host interface "veth\w+" is not a port of bridge "cni0"/,
  },
  {
    title: 'the host end is down',
    script: 'ip link set $1 down',
    says: /host interface "veth\w+" is down; ip link set veth\w+ up/,
  },
  {
    title: 'the pair was replaced by another',
    script: `ip link del $1; ip link add $1 master cni0 type veth peer name eth0 netns $2; ${inside}inside ip link set eth0 up`,
    says: /Interface eth0 Mac \S+ doesn't match/,
  },
  {
    title: 'hairpin is off',
    conf: {hairpinMode: true},
    script: 'ip link set $1 type bridge_slave hairpin off',
    says: /hairpin of "veth\w+" is false, hairpinMode is true/,
  },
  {
    title: 'hairpin is on',
    script: 'ip link set $1 type bridge_slave hairpin on',
    says: /hairpin of "veth\w+" is true, hairpinMode is false/,
  },
  {
    title: 'isolation is off',
    conf: {portIsolation: true},
    script: 'ip link set $1 type bridge_slave isolated off',
    says: /isolation of "veth\w+" is false, portIsolation is true/,
  },
  {
    title: 'the bridge is promiscuous',
    script: 'ip link set cni0 promisc on',
    says: /Bridge interface "cni0": promiscMode is false/,
  },
  {
    title: 'the bridge is down',
    script: 'ip link set cni0 down',
    says: /bridge "cni0" is down; ip link set cni0 up/,
  },
  {title: 'the bridge is gone', script: 'ip link del cni0', says: /bridge "cni0" is gone/},
  {
    title: 'something else has the name of the bridge',
    script: 'ip link del cni0; ip link add cni0 type veth peer name cni1',
    says: /Interface "cni0" is not a bridge/,
  },
  {
    title: 'a gateway address is gone',
    script: 'ip address del 10.61.0.1/24 dev cni0',
    says: /gateway address 10\.61\.0\.1\/24 is missing; ip addr add 10\.61\.0\.1\/24 dev cni0/,
  },
  {
    title: 'the IPv6 gateway address is gone',
    script: 'ip address del 2001:db8:61::1/64 dev cni0',
    says: /gateway address 2001:db8:61::1\/64 is missing/,
  },
  {
    title: 'IPv4 forwarding is off',
    script: 'echo 0 > /proc/sys/net/ipv4/ip_forward',
    says: /forwarding is off: net\.ipv4\.ip_forward is not 1/,
  },
  {
    title: 'IPv6 forwarding is off',
    script: 'echo 0 > /proc/sys/net/ipv6/conf/all/forwarding',
    says: /forwarding is off: net\.ipv6\.conf\.all\.forwarding is not 1/,
  },
  {
    title: 'a masquerade element was deleted',
    script: 'nft delete element inet weft masq-addresses4 { 10.61.0.2 }',
    says: /10\.61\.0\.2 is not masqueraded: map inet weft masq-addresses4 lacks it/,
  },
  {
    title: 'the maps were flushed',
    script: 'nft flush map inet weft masq-addresses6',
    says: /2001:db8:61::2 is not masqueraded/,
  },
  {
    title: 'a chain of the masquerade was flushed',
    script: 'nft flush table inet weft',
    says: /^chain inet weft masq-postrouting is missing or has not the rules it should have; .*masq-except-10/,
  },
  {title: 'the ruleset was flushed', script: 'nft flush ruleset', says: /10\.61\.0\.2 is not masqueraded/},
  {
    title: 'a rule against spoofing is gone',
    conf: {macspoofchk: true},
    script: 'nft flush chain bridge nat cni-br-iface-a-eth0-mac',
    says: /macspoofchk: chain cni-br-iface-a-eth0-mac of table bridge nat lacks the rule "ether saddr/,
  },
  {
    title: 'no frame is looked at any more',
    conf: {macspoofchk: true},
    script: 'nft flush chain bridge nat PREROUTING',
    says: /macspoofchk: chain PREROUTING of table bridge nat lacks the rule "iifname/,
  },
  {
    title: 'the rules against spoofing are gone',
    conf: {macspoofchk: true, ipMasq: false},
    script: 'nft flush ruleset',
    says: /macspoofchk: chain PREROUTING of table bridge nat lacks the rule/,
  },
  {
    title: 'the reservation is gone',
    script: 'rm /var/lib/cni/networks/checked/10.61.0.2 /var/lib/cni/networks/checked/2001:db8:61::2',
    says: /host-local: Failed to find address added by container a/,
  },
];

async function assertTold(t: ExecutionContext, host: TestHost, a: Attached, says: RegExp) {
  const {code, reply, stdout} = await check(host, a);
  t.is(code, 1, stdout);
  t.is(reply?.code, 999);
  t.regex(reply?.msg ?? '', says);
}

for (const {title, conf, script, says} of tamperings)
  test(`CHECK tells that ${title}`, async (t) => {
    const host = await makeHost(t);
    const a = await attach(host, 'a', bridgeNetwork({name: 'checked', cniVersion: '1.1.0', ...conf}));
    t.is((await check(host, a)).code, 0);
    await host.sh(script, {args: [a.port, a.netns]});
    await assertTold(t, host, a, says);
  });

test('CHECK tells everything that is wrong at once', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', bridgeNetwork({name: 'checked', cniVersion: '1.1.0'}));
  await host.sh(
    'nft flush ruleset; echo 0 > /proc/sys/net/ipv4/ip_forward; nsenter --net=$1 ip route del default',
    {
      args: [a.netns],
    },
  );
  const {reply} = await check(host, a);
  for (const part of [/Expected Route/, /forwarding is off/, /is not masqueraded/])
    t.regex(reply?.msg ?? '', part);
});

test('CHECK needs the previous result, the right namespace and an interface of it', async (t) => {
  const host = await makeHost(t);
  const {result, ...call} = await attach(host, 'a', bridgeNetwork({name: 'checked', cniVersion: '1.1.0'}));
  const other = await host.addNetns('other');
  const says = async (changes: object, text: RegExp) => {
    const {code, reply} = await tryPlugin(host, {...call, command: 'CHECK', prevResult: result, ...changes});
    t.is(code, 1);
    t.regex(reply?.msg ?? '', text);
  };
  await says({prevResult: undefined}, /^Required prevResult missing$/);
  await says(
    {netns: other},
    /^Sandbox in prevResult \/run\/netns\/a doesn't match configured netns: \/run\/netns\/other$/,
  );
  await says({netns: '/run/netns/gone'}, /failed to Statfs "\/run\/netns\/gone": no such file or directory$/);
  await says({conf: {...call.conf, bridge: 'cni7'}}, /prevResult names no bridge "cni7"/);
});

test('CHECK tolerates what plugins after it in the chain may do', async (t) => {
  const host = await makeHost(t);
  const a = await attach(host, 'a', bridgeNetwork({name: 'checked', cniVersion: '1.1.0'}));
  await host.sh(
    `nsenter --net=$1 ip address add 10.99.0.9/32 dev eth0
    nsenter --net=$1 ip route add 10.99.1.0/24 via 10.61.0.1
    nsenter --net=$1 ip link add dummy1 type bridge
    nsenter --net=$1 ip link set eth0 mtu 1400`,
    {args: [a.netns]},
  );
  const {interfaces = [], ips = []} = a.result;
  const result = {
    ...a.result,
    interfaces: [...interfaces, {name: 'dummy1', sandbox: a.netns}],
    ips: [...ips, {address: '10.99.0.9/32', interface: 3}],
  };
  const {code, stdout} = await check(host, {...a, result});
  t.is(code, 0, stdout);
});
