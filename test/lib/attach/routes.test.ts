import test from 'ava';
import {gatewayOf} from '../../../lib/attach/routes.ts';
import type {IpConfig, Route} from '../../../lib/cni/types.ts';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';

const ip = (address: string, gateway?: string): IpConfig => ({
  address: parseCidr(address)!,
  ...(gateway !== undefined && {gateway: parseIp(gateway)!}),
});
const route = (dst: string, gw?: string): Route => ({
  dst: parseCidr(dst)!,
  ...(gw !== undefined && {gw: parseIp(gw)!}),
});

test('a route without gateway goes by the first gateway of its family', (t) => {
  const ips = [ip('10.1.2.9/24', '10.1.2.1'), ip('fd00::9/64', 'fd00::1')];
  t.is(formatIp(gatewayOf(route('fd01::/64'), ips)!), 'fd00::1');
  t.is(formatIp(gatewayOf(route('10.5.0.0/16', '10.1.2.3'), ips)!), '10.1.2.3');
  t.is(gatewayOf(route('10.5.0.0/16'), [ip('10.1.2.9/24')]), undefined);
});
