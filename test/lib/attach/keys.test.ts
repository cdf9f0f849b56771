import test from 'ava';
import {dnsOverride, masqueradeBackend, vethMtu} from '../../../lib/attach/keys.ts';
import {findVethName, hostVethName} from '../../../lib/attach/veth-name.ts';
import type {Host} from '../../../lib/host.ts';
import {NetlinkError} from '../../../lib/netlink/error.ts';
import {recordingNetlink} from '../../helpers/recording-netlink.ts';

test('mtu: 0 and none leave the default, the rest has limits', (t) => {
  t.deepEqual([undefined, 0, 68, 65_535].map(vethMtu), [undefined, undefined, 68, 65_535]);
  for (const mtu of [-1, 67, 65_536]) t.throws(() => vethMtu(mtu), {message: `invalid MTU ${mtu}`});
});

test('ipMasqBackend: two names, or none', (t) => {
  t.deepEqual([undefined, '', 'iptables', 'nftables'].map(masqueradeBackend), [
    undefined,
    undefined,
    'iptables',
    'nftables',
  ]);
  t.throws(() => masqueradeBackend('pf'), {message: 'unknown ipmasq backend "pf"'});
});

test('dns: an empty list counts, an empty domain does not', (t) => {
  t.is(dnsOverride(undefined), undefined);
  t.is(dnsOverride({domain: ''}), undefined);
  t.deepEqual(dnsOverride({search: [], domain: ''}), {search: []});
});

const owner = {network: 'net1', containerId: 'c1', ifName: 'eth0'};

test('the name of the host end follows from the owner', async (t) => {
  t.regex(hostVethName(owner), /^veth[0-9a-f]{8}$/);
  t.is(hostVethName(owner), hostVethName({...owner}));
  const others = [
    {...owner, network: 'net2'},
    {...owner, containerId: 'c2'},
    {...owner, ifName: 'eth1'},
  ];
  t.is(new Set([owner, ...others].map((each) => hostVethName(each))).size, 4);
  const rt = {
    ...recordingNetlink(),
    get: () => Promise.reject(new NetlinkError('get link', 19)),
  };
  t.deepEqual(await findVethName({rt} as unknown as Host, owner), {
    name: hostVethName(owner),
    left: undefined,
  });
});
