import test from 'ava';
import {formatIp, parseIp} from '../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../lib/ip/cidr.ts';
import type {RouteSpec} from '../../../lib/netlink/route/route.ts';
import {isRoute, planLink} from '../../../plugins/ptp/plan.ts';

function show({dst, gateway, src, scope, protocol}: Omit<RouteSpec, 'ifindex'>): string {
  const parts = [
    formatCidr(dst),
    gateway && `via ${formatIp(gateway)}`,
    src && `src ${formatIp(src)}`,
    scope !== undefined && `scope ${scope}`,
    protocol !== undefined && `proto ${protocol}`,
  ];
  return parts.filter(Boolean).join(' ');
}

function plan(...ips: readonly string[]) {
  const planned = planLink(
    ips.map((text) => {
      const [address = '', gateway] = text.split(' via ');
      return {address: parseCidr(address)!, ...(gateway && {gateway: parseIp(gateway)!})};
    }),
  );
  return {
    gateways: planned.gateways.map(show),
    onLink: planned.onLink.map(show),
    subnets: planned.subnets.map(show),
    hostAddresses: planned.hostAddresses.map(formatCidr),
    hostRoutes: planned.hostRoutes.map(show),
  };
}

test('both families', (t) => {
  t.deepEqual(plan('10.1.2.9/24 via 10.1.2.1', 'fd00::9/64 via fd00::1'), {
    gateways: ['10.1.2.1/32 src 10.1.2.9 scope 253', 'fd00::1/128 src fd00::9 scope 253'],
    onLink: ['10.1.2.0/24 proto 2', 'fd00::/64 proto 2'],
    subnets: ['10.1.2.0/24 via 10.1.2.1 src 10.1.2.9', 'fd00::/64 via fd00::1 src fd00::9'],
    hostAddresses: ['10.1.2.1/32', 'fd00::1/128'],
    hostRoutes: ['10.1.2.9/32 scope 254', 'fd00::9/128 scope 254'],
  });
});

test('two addresses in one subnet share the gateway and its routes', (t) => {
  t.deepEqual(plan('10.1.2.9/24 via 10.1.2.1', '10.1.2.8/24 via 10.1.2.1'), {
    gateways: ['10.1.2.1/32 src 10.1.2.9 scope 253'],
    onLink: ['10.1.2.0/24 proto 2'],
    subnets: ['10.1.2.0/24 via 10.1.2.1 src 10.1.2.9'],
    hostAddresses: ['10.1.2.1/32'],
    hostRoutes: ['10.1.2.9/32 scope 254', '10.1.2.8/32 scope 254'],
  });
});

test('an address that is a subnet of its own has no subnet to route', (t) => {
  t.deepEqual(plan('10.1.2.9/32 via 169.254.1.1', 'fd00::9/128 via fe80::1'), {
    gateways: ['169.254.1.1/32 src 10.1.2.9 scope 253', 'fe80::1/128 src fd00::9 scope 253'],
    onLink: [],
    subnets: [],
    hostAddresses: ['169.254.1.1/32', 'fe80::1/128'],
    hostRoutes: ['10.1.2.9/32 scope 254', 'fd00::9/128 scope 254'],
  });
});

test('an address without gateway is refused', (t) => {
  t.throws(() => plan('10.1.2.9/24 via 10.1.2.1', '10.1.3.9/24'), {
    message: /^IPAM gave 10\.1\.3\.9\/24 no gateway, which ptp needs/,
  });
});

test('a route is found beside others to the same place', (t) => {
  const wanted = {dst: parseCidr('fd00::/64')!, gateway: parseIp('fd00::1')!};
  t.true(isRoute(wanted, wanted));
  t.true(
    isRoute(
      {dst: wanted.dst, multipath: [{gateway: parseIp('fd00::2')!}, {gateway: wanted.gateway}]},
      wanted,
    ),
  );
  t.false(isRoute({dst: wanted.dst}, wanted));
  t.false(isRoute({...wanted, dst: parseCidr('fd00::/48')!}, wanted));
});
