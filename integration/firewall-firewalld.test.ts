import {attach, pings} from './harness/attachment.ts';
import {firewallCmd, startBus, startFirewalld} from './harness/firewalld.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin, tryPlugin} from './harness/plugin.ts';

const test = testWith('root', 'apt');

const network = bridgeNetwork({name: 'guarded', cniVersion: '1.1.0'});
const firewall = {cniVersion: '1.1.0', name: 'guarded', type: 'firewall'};

test("Debian's firewalld lets a container's traffic through while it is attached", async (t) => {
  t.timeout(300_000);
  const host = await makeHost(t);
  const outside = await addOutside(host);
  await startBus(host);
  await startFirewalld(host);
  const attached = await attach(host, 'pod', network);
  t.false(await pings(host, 'pod', outside.addresses[0]));
  // No backend is asked for: firewalld runs.
  const call = {conf: firewall, netns: attached.netns, containerId: 'pod', prevResult: attached.result};
  await callPlugin(host, {...call, command: 'ADD'});
  const sources = attached.addresses.map((ip) => `${ip}/${ip.includes(':') ? 128 : 32}`);
  t.is(await firewallCmd(host, '--zone=trusted', '--list-sources'), sources.join(' '));
  t.true(await pings(host, 'pod', outside.addresses[0]));
  await callPlugin(host, {...call, command: 'CHECK'});
  // ZONE_ALREADY_SET is no error.
  await callPlugin(host, {...call, command: 'ADD'});
  await firewallCmd(host, '--zone=trusted', `--remove-source=${sources[0]}`);
  t.regex(
    (await tryPlugin(host, {...call, command: 'CHECK'})).reply?.msg ?? '',
    /^failed to find the address 10\.61\.0\.\d+\/32 in trusted zone$/,
  );
  await callPlugin(host, {...call, command: 'DEL'});
  t.is(await firewallCmd(host, '--zone=trusted', '--list-sources'), '');
  await callPlugin(host, {...call, command: 'DEL'});

  const internal = {...call, conf: {...firewall, backend: 'firewalld', firewalldZone: 'internal'}};
  await callPlugin(host, {...internal, command: 'STATUS'});
  await callPlugin(host, {...internal, command: 'ADD'});
  t.is(await firewallCmd(host, '--zone=internal', '--list-sources'), sources.join(' '));
  const conflict = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(conflict.reply?.msg ?? '', /^failed to add the address .* to trusted zone: .*ZONE_CONFLICT/);
  // What was there before stays in its zone.
  t.is(await firewallCmd(host, '--zone=internal', '--list-sources'), sources.join(' '));
  await callPlugin(host, {...internal, command: 'ADD'});
  // Without a previous result the addresses are known by their owner.
  await callPlugin(host, {...internal, command: 'DEL', prevResult: undefined});
  t.is(await firewallCmd(host, '--zone=internal', '--list-sources'), '');
  await callPlugin(host, {...internal, command: 'ADD'});
  await callPlugin(host, {...internal, command: 'GC', attachments: []});
  t.is(await firewallCmd(host, '--zone=internal', '--list-sources'), '');
  const unknown = {...internal, conf: {...internal.conf, firewalldZone: 'nowhere'}};
  t.regex(
    (await tryPlugin(host, {...unknown, command: 'ADD'})).reply?.msg ?? '',
    /^failed to add the address .* to nowhere zone: INVALID_ZONE/,
  );
});

test('without firewalld, its backend says what to do', async (t) => {
  const host = await makeHost(t);
  const attached = await attach(host, 'pod', network);
  const conf = {...firewall, backend: 'firewalld'};
  const call = {conf, netns: attached.netns, containerId: 'pod', prevResult: attached.result};
  const {reply} = await tryPlugin(host, {...call, command: 'ADD'});
  t.regex(
    reply?.msg ?? '',
    /backend "firewalld" was requested, but firewalld cannot be reached: system bus at/,
  );
  t.is((await tryPlugin(host, {...call, command: 'STATUS'})).reply?.code, 50);
  await callPlugin(host, {...call, command: 'DEL'});
  await startBus(host);
  t.regex((await tryPlugin(host, {...call, command: 'ADD'})).reply?.msg ?? '', /firewalld does not run$/);
  // A bus without firewalld on it: nftables.
  await callPlugin(host, {...call, conf: firewall, command: 'ADD'});
});
