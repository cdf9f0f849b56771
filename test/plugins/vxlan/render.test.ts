import test from 'ava';
import {formatScratch} from '../../../plugins/vxlan/scratch.ts';
import type {JsonObject} from '../../../lib/cni/types.ts';
import {cidrs, dualStack, flannels, render, subnetFile} from './helpers.ts';

// What flannel's plugin documents and tests: https://github.com/flannel-io/cni-plugin, README.md and flannel_linux_test.go.

const ipam = {
  type: 'host-local',
  ranges: [[{subnet: '10.1.17.0/24'}]],
  routes: [{dst: '10.1.0.0/16'}],
};
const plain = {name: 'mynet', type: 'bridge', mtu: 1472, ipMasq: false, isGateway: true, ipam};

test('the least configuration', async (t) => {
  t.deepEqual(await render({}, subnetFile(flannels)), plain);
});

test('the least configuration, as the file that flannel writes', async (t) => {
  const rendered = (await render({}, subnetFile(flannels))) as JsonObject;
  t.is(
    formatScratch(rendered),
    '{"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.1.17.0/24"}]],"routes":[{"dst":"10.1.0.0/16"}],"type":"host-local"},' +
      '"isGateway":true,"mtu":1472,"name":"mynet","type":"bridge"}',
  );
  t.is(formatScratch({a: '<b&c>\u2028'}), String.raw`{"a":"\u003cb\u0026c\u003e\u2028"}`);
});

test('both families, and IPv6 alone', async (t) => {
  const ranges = [[{subnet: '10.1.17.0/24'}], [{subnet: 'fc00::/64'}]];
  const routes = [{dst: '10.1.0.0/16'}, {dst: 'fc00::/48'}];
  t.deepEqual(await render({}, subnetFile(dualStack)), {...plain, ipam: {...ipam, ranges, routes}});
  const six = dualStack.replaceAll(/^FLANNEL_(NETWORK|SUBNET).*\n/gm, '');
  t.deepEqual(await render({}, subnetFile(six)), {
    ...plain,
    ipam: {...ipam, ranges: ranges.slice(1), routes: routes.slice(1)},
  });
});

test('several networks are several routes', async (t) => {
  const several = flannels.replace('10.1.0.0/16', '10.1.0.0/16,192.168.0.0/16');
  t.deepEqual(await render({}, subnetFile(several)), {
    ...plain,
    ipam: {...ipam, routes: [{dst: '10.1.0.0/16'}, {dst: '192.168.0.0/16'}]},
  });
});

test('what the agent does not masquerade, the delegate does', async (t) => {
  const host = subnetFile(flannels.replace('=true', '=false'));
  t.deepEqual(await render({}, host), {...plain, ipMasq: true});
});

test('"delegate" goes before what the agent says, and may hold anything else', async (t) => {
  const delegate = {
    bridge: 'mynet0',
    mtu: 1400,
    ipMasq: true,
    isGateway: false,
    hairpinMode: true,
    isDefaultGateway: true,
    forceAddress: true,
    other: {x: [1]},
  };
  t.deepEqual(await render({delegate}, subnetFile(flannels)), {...plain, ...delegate});
  // 0 and false are values; a key in another case is the same key.
  t.deepEqual(await render({delegate: {MTU: 1400, IPMASQ: false}}, subnetFile(flannels)), {
    name: 'mynet',
    type: 'bridge',
    MTU: 1400,
    IPMASQ: false,
    isGateway: true,
    ipam,
  });
});

test('another plugin than bridge is no gateway', async (t) => {
  const delegate = {type: 'ipvlan', master: 'eth0'};
  const {isGateway: _, ...rest} = plain;
  t.deepEqual(await render({delegate}, subnetFile(flannels)), {...rest, ...delegate});
});

test('"ipam" is completed: type unless given, ranges always, routes after those given', async (t) => {
  const given = {
    type: 'my-ipam',
    'unknown-param': 'unknown-value',
    ranges: [[{subnet: '10.9.0.0/16'}]],
    routes: [{dst: '10.96.0.0/12'}, {dst: '192.168.244.0/24', gw: '10.1.17.20'}],
  };
  t.deepEqual(await render({ipam: given}, subnetFile(flannels)), {
    ...plain,
    ipam: {...given, ranges: ipam.ranges, routes: [...given.routes, ...ipam.routes]},
  });
});

test("the version is passed on where there is one, the runtime's configuration too", async (t) => {
  const runtimeConfig = {portMappings: [{hostPort: 80}], mac: '02:00:00:00:00:01'};
  t.deepEqual(await render({cniVersion: '0.3.1', runtimeConfig}, subnetFile(flannels)), {
    ...plain,
    cniVersion: '0.3.1',
    runtimeConfig,
  });
});

test('where the log goes is passed on, unless the delegate has a log of its own', async (t) => {
  const conf = {logLevel: 'debug', logFile: '/var/log/weft.log', delegate: {logLevel: 'trace'}};
  t.deepEqual(await render(conf, subnetFile(flannels)), {
    ...plain,
    logLevel: 'trace',
    logFile: '/var/log/weft.log',
  });
});

test('without a subnet: what does not depend on it', async (t) => {
  t.deepEqual(await render({delegate: {bridge: 'b', mtu: 1400}}, undefined), {
    name: 'mynet',
    type: 'bridge',
    bridge: 'b',
    mtu: 1400,
    ipam: {type: 'host-local'},
  });
});

const l2 = subnetFile(flannels, {
  form: 'l2',
  networks: cidrs('10.9.0.0/16', 'fd00:9::/64'),
  subnets: cidrs('10.9.3.0/24', 'fd00:9::3:0/112'),
  bridge: 'br-vx7',
});

test('l2: a part of one subnet, with the gateway of all', async (t) => {
  t.deepEqual(await render({}, l2), {
    ...plain,
    bridge: 'br-vx7',
    ipam: {
      type: 'host-local',
      ranges: [
        [{subnet: '10.9.0.0/16', rangeStart: '10.9.3.0', rangeEnd: '10.9.3.255', gateway: '10.9.0.1'}],
        [
          {
            subnet: 'fd00:9::/64',
            rangeStart: 'fd00:9::3:0',
            rangeEnd: 'fd00:9::3:ffff',
            gateway: 'fd00:9::1',
          },
        ],
      ],
      routes: [],
    },
  });
});

test('l2: the first part leaves out the gateway, the last the broadcast address', async (t) => {
  const rangeOf = async (part: string) => {
    const rendered = await render({}, {...l2, subnets: cidrs(part)});
    const [[range]] = (rendered as {ipam: {ranges: [[{rangeStart: string; rangeEnd: string}]]}}).ipam.ranges;
    return `${range.rangeStart} ${range.rangeEnd}`;
  };
  t.is(await rangeOf('10.9.0.0/24'), '10.9.0.2 10.9.0.255');
  t.is(await rangeOf('10.9.255.0/24'), '10.9.255.0 10.9.255.254');
  t.is(await rangeOf('10.9.0.0/16'), '10.9.0.2 10.9.255.254');
  t.is(await rangeOf('fd00:9::/112'), 'fd00:9::2 fd00:9::ffff');
});
