import {ensurePackages} from './harness/debian.ts';
import {firewall, prepare, saveFilter} from './harness/firewall.ts';
import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {addOutside} from './harness/outside.ts';
import {callPlugin} from './harness/plugin.ts';
import {ask, portmapConf, serve} from './harness/ports.ts';
import {reloadUfw, startUfw} from './harness/ufw.ts';

// Debian's ufw as it comes: FORWARD drops, and chains of its own see what is left.

const test = testWith('root', 'apt');

test.before(async () => {
  await ensurePackages('ufw');
});

for (const variant of ['nft', 'legacy'] as const)
  test(`on a host with ufw (iptables-${variant}) containers talk, and their ports are reached`, async (t) => {
    t.timeout(300_000);
    const host = await makeHost(t);
    const outside = await addOutside(host);
    await startUfw(host, variant);
    const {call} = await prepare(host, 'pod');
    await serve(host, 'pod', 'pod', 80);
    await serve(host, 'outside', 'outside', 80);
    const ports = portmapConf('guarded', [{hostPort: 8080, containerPort: 80}]);
    await callPlugin(host, {...call, conf: ports, command: 'ADD'});
    const fromOutside = () =>
      ask(host, 'outside', ...outside.hostAddresses.map((address) => ({address, port: 8080})));
    // ufw lets echoes through.
    const toOutside = () => ask(host, 'pod', ...outside.addresses.map((address) => ({address, port: 80})));
    const nothing = ['ETIMEDOUT', 'ETIMEDOUT'];
    t.deepEqual([await toOutside(), await fromOutside()], [nothing, nothing]);
    const before = await saveFilter(host, variant);
    t.true(before.some((line) => line.startsWith(':ufw-before-forward')));
    await callPlugin(host, {...call, command: 'ADD'});
    const reached = async (when: string) => {
      t.deepEqual(await toOutside(), ['outside sees 192.0.2.1', 'outside sees 2001:db8:2::1'], when);
      t.deepEqual(await fromOutside(), ['pod sees 192.0.2.2', 'pod sees 2001:db8:2::2'], when);
      await callPlugin(host, {...call, command: 'CHECK'});
    };
    await reached('after ADD');
    // Of ufw's own rules none is gone.
    const after = await saveFilter(host, variant);
    t.deepEqual(
      after.filter((line) => !line.includes('weft: traffic of containers')),
      before,
    );
    await reloadUfw(host);
    await callPlugin(host, {...call, command: 'ADD'});
    await reached('after a reload of ufw');
    await callPlugin(host, {...call, conf: ports, command: 'DEL'});
    await callPlugin(host, {...call, conf: firewall, command: 'DEL'});
    t.deepEqual(await toOutside(), nothing);
  });
