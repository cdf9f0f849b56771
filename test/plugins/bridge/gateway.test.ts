import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../lib/ip/cidr.ts';
import {conflicts, planGateways} from '../../../plugins/bridge/gateway.ts';
import type {IpConfig, Route} from '../../../lib/cni/types.ts';

const ip = (address: string, gateway?: string): IpConfig => ({
  address: parseCidr(address)!,
  ...(gateway !== undefined && {gateway: parseIp(gateway)!}),
});
const route = (dst: string, gw?: string): Route => ({
  dst: parseCidr(dst)!,
  ...(gw !== undefined && {gw: parseIp(gw)!}),
});

function plan(ips: IpConfig[], routes: Route[], isGateway: boolean, isDefaultGateway: boolean) {
  const planned = planGateways({ips, routes}, {isGateway, isDefaultGateway});
  return {
    gateways: planned.gateways.map(formatCidr),
    ofIps: planned.ips.map(({gateway}) => gateway && formatIp(gateway)),
    routes: planned.routes.map(({dst, gw}) => `${formatCidr(dst)} via ${gw ? formatIp(gw) : 'link'}`),
  };
}

test('without isGateway nothing is added', (t) => {
  t.deepEqual(plan([ip('10.1.2.9/24')], [route('0.0.0.0/0')], false, false), {
    gateways: [],
    ofIps: [undefined],
    routes: ['0.0.0.0/0 via link'],
  });
});

test('isGateway takes the gateway of IPAM, else the first address of the subnet', (t) => {
  const ips = [ip('10.1.2.9/24', '10.1.2.254'), ip('10.9.0.9/16'), ip('fd00::9/64')];
  t.deepEqual(plan(ips, [], true, false), {
    gateways: ['10.1.2.254/24', '10.9.0.1/16', 'fd00::1/64'],
    ofIps: ['10.1.2.254', '10.9.0.1', 'fd00::1'],
    routes: [],
  });
});

test('isDefaultGateway adds one default route for each family', (t) => {
  const ips = [ip('10.1.2.9/24'), ip('10.9.0.9/16'), ip('fd00::9/64')];
  t.deepEqual(plan(ips, [], true, true).routes, ['0.0.0.0/0 via 10.1.2.1', '::/0 via fd00::1']);
});

test('isDefaultGateway leaves a default route with a gateway alone', (t) => {
  const routes = [route('0.0.0.0/0', '10.1.2.7')];
  t.deepEqual(plan([ip('10.1.2.9/24')], routes, true, true).routes, ['0.0.0.0/0 via 10.1.2.7']);
});

test('a default route of IPAM without gateway is not added a second time', (t) => {
  const routes = [route('0.0.0.0/0'), route('10.5.0.0/16')];
  t.deepEqual(plan([ip('10.1.2.9/24')], routes, true, true).routes, [
    '0.0.0.0/0 via 10.1.2.1',
    '10.5.0.0/16 via link',
  ]);
});

test('two addresses behind one gateway make one gateway address', (t) => {
  t.deepEqual(plan([ip('10.1.2.9/24'), ip('10.1.2.10/24')], [], true, false).gateways, ['10.1.2.1/24']);
});

test('any other IPv4 address of the bridge conflicts, an IPv6 one only where subnets overlap', (t) => {
  const clash = (present: string, wanted: string) => conflicts(parseCidr(present)!, parseCidr(wanted)!);
  t.true(clash('10.2.0.1/24', '10.1.0.1/24'));
  t.false(clash('10.2.0.1/24', 'fd00::1/64'));
  t.true(clash('fd00::2/64', 'fd00::1/64'));
  t.true(clash('fd00::2/48', 'fd00:0:0:5::1/64'));
  t.false(clash('fd00:0:0:4::1/64', 'fd00:0:0:5::1/64'));
});
