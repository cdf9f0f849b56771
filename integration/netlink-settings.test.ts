import {setTimeout as sleep} from 'node:timers/promises';
import {sysctl} from '../lib/netns/sysctl.ts';
import {getLink, setLink} from '../lib/netlink/route/link.ts';
import {isForwarding} from '../lib/netlink/route/netconf.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

const files = {
  acceptRa: 'accept_ra',
  disableIpv6: 'disable_ipv6',
  acceptDad: 'accept_dad',
  ndiscNotify: 'ndisc_notify',
  keepAddrOnDown: 'keep_addr_on_down',
  enhancedDad: 'enhanced_dad',
} as const;

test('the kernel says by netlink what the files of a link say', async (t) => {
  const {netns, rt, run} = await makeNamespace(t);
  await run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  for (const [key, file] of Object.entries(files)) {
    for (const value of [1, 0, 1]) {
      netns.run(() => sysctl.write(`net/ipv6/conf/eth0/${file}`, `${value}`));
      const {ipv6} = await getLink(rt, {name: 'eth0'});
      t.is(ipv6?.[key as keyof typeof files], value, file);
    }
  }
  const changed = await getLink(rt, {name: 'eth0'});
  t.deepEqual(new Set(Object.values(changed.ipv6!)), new Set([1]));
});

test('arp_notify is set by netlink, of a link that is down, too, and nothing else changes', async (t) => {
  const {netns, rt, run} = await makeNamespace(t);
  await run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  const all = async () => {
    const {stdout} = await run('sh', '-c', 'cd /proc/sys/net/ipv4/conf/eth0; grep -s . *');
    return stdout.split('\n').filter((line) => !line.startsWith('arp_notify:'));
  };
  const before = await all();
  const {ifindex} = await getLink(rt, {name: 'eth0'});
  for (const arpNotify of [1, 0, 1]) {
    await setLink(rt, {ifindex}, {ipv4: {arpNotify}});
    t.is(
      netns.run(() => sysctl.read('net/ipv4/conf/eth0/arp_notify')),
      `${arpNotify}`,
    );
  }
  t.deepEqual(await all(), before);
  t.false((await getLink(rt, {ifindex})).up);
});

test('a link that shall have none gets no link-local address', async (t) => {
  const {rt, run} = await makeNamespace(t);
  await run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  await setLink(rt, {name: 'eth0'}, {ipv6: {addrGenMode: 'none'}});
  for (const name of ['eth0', 'other']) await setLink(rt, {name}, {up: true});
  const addresses = async (name: string) => (await run('ip', '-6', 'address', 'show', 'dev', name)).stdout;
  for (let i = 0; i < 100 && !(await addresses('other')).includes('fe80:'); i++) await sleep(50);
  t.regex(await addresses('other'), /fe80:/);
  t.is(await addresses('eth0'), '');
});

test('whether the namespace forwards is known without the files', async (t) => {
  const {netns, rt} = await makeNamespace(t);
  const names = {4: 'net/ipv4/ip_forward', 6: 'net/ipv6/conf/all/forwarding'} as const;
  for (const family of [4, 6] as const) {
    for (const value of ['1', '0', '1']) {
      netns.run(() => sysctl.write(names[family], value));
      t.is(await isForwarding(rt, family), value === '1');
    }
  }
});
