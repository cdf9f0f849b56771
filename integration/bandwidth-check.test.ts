import {assertFails, limit, limits, listIfbs, prepare} from './harness/bandwidth.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {assertNothingLeft, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

const tampering: readonly (readonly [what: string, more: object, script: string, message: RegExp])[] = [
  ['the tbf of the host interface', {}, 'tc qdisc del dev $1 root', /Failed to find qdisc: tbf 1: on "veth/],
  [
    'another rate',
    {},
    'tc qdisc change dev $1 handle 1: root tbf rate 8mbit burst 500kb latency 25ms',
    /Rate doesn't match: "veth\w+" has 1000000 bytes\/s, the limit of ingress asks for 5000000; Buffer doesn't match.*; Limit doesn't match/,
  ],
  ['the tbf of the ifb device', {}, 'tc qdisc del dev $2 root', /Failed to find qdisc: tbf 1: on "bwp/],
  ['the ifb device', {}, 'ip link del $2', /get ifb device: Link not found: "bwp\w+" is gone/],
  ['an ifb device that is down', {}, 'ip link set $2 down', /"bwp\w+" is down/],
  ['the ingress qdisc', {}, 'tc qdisc del dev $1 ingress', /Failed to find qdisc: ingress ffff: on "veth/],
  ['the filter', {}, 'tc filter del dev $1 parent ffff:', /filter missing on "veth\w+": u32 of priority 1/],
  [
    'another filter',
    {},
    'tc filter add dev $1 parent ffff: protocol ip prio 7 u32 match ip dst 192.0.2.0/24',
    /filter too many on "veth\w+": u32 of priority 7.*match c0000200\/ffffff00 at 16, not limited/,
  ],
  [
    'the class',
    {shapedSubnets: ['10.0.0.0/8']},
    'tc filter del dev $1; tc class del dev $1 classid 1:1',
    /class 1:1 of "veth\w+" is missing/,
  ],
  [
    'the filter of a subnet',
    {unshapedSubnets: ['2001:db8::/32']},
    'tc filter del dev $1 parent 1:',
    /filter missing on "veth\w+": u32 of priority 2, protocol 86dd: match 20010db8\/ffffffff at 8, not limited/,
  ],
];

for (const [what, more, script, message] of tampering)
  test(`CHECK tells: ${what}`, async (t) => {
    const host = await makeHost(t);
    const pod = await prepare(host, 'pod', {...limits, ...more});
    const result = await limit(host, pod);
    await host.sh(script, {args: [pod.port, (await listIfbs(host))[0] ?? '']});
    await assertFails(t, host, {...pod.call, command: 'CHECK', prevResult: result}, message);
  });

const strangers: readonly (readonly [what: string, script: string, message: RegExp])[] = [
  [
    'a root qdisc',
    'tc qdisc add dev $1 root handle 1: tbf rate 1mbit burst 10kb latency 25ms',
    /create qdisc: file exists: "(veth\w+)" has qdisc tbf 1: at its root already .*tc qdisc del dev \1 root.*leave ingressRate and ingressBurst out/,
  ],
  [
    'clsact',
    'tc qdisc add dev $1 clsact; tc filter add dev $1 ingress prio 9 u32 match u32 0 0',
    /create ingress qdisc: file exists: "(veth\w+)" has qdisc clsact ffff: already, with filters \(u32\) .*tc qdisc del dev \1 clsact.*eBPF.*leave egressRate/,
  ],
  [
    'an ingress qdisc',
    'tc qdisc add dev $1 ingress',
    /create ingress qdisc: file exists: "(veth\w+)" has qdisc ingress ffff: already .*tc qdisc del dev \1 ingress/,
  ],
];

for (const [what, script, message] of strangers)
  test(`${what} of somebody else is an error that says so, and stays as it is`, async (t) => {
    const host = await makeHost(t);
    const pod = await prepare(host, 'pod', limits);
    await host.sh(script, {args: [pod.port]});
    const show = async () =>
      (await host.sh('tc qdisc show; tc filter show dev $1 ingress', {args: [pod.port]})).stdout;
    const [before, shown] = [await takeSnapshot(host), await show()];
    await assertFails(t, host, {...pod.call, command: 'ADD'}, message);
    t.is(await show(), shown);
    await assertNothingLeft(t, host, before, []);
  });
