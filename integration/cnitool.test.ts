import {makeHost, type TestHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root', 'apt');

const tool = '/opt/cni/bin/cnitool';
const env = {CNI_PATH: '/opt/cni/bin'};

/** A host with a network "weft" of our bridge, as `cnitool`'s own documentation has it. */
async function setUp(host: TestHost, rest: object = {}): Promise<void> {
  const {cniVersion: _, name, ...plugin} = bridgeNetwork({name: 'weft'});
  const list = {cniVersion: '1.1.0', name, plugins: [plugin], ...rest};
  await host.write('/etc/cni/net.d/10-weft.conflist', JSON.stringify(list));
}

const run = (host: TestHost, args: string, more: Record<string, string> = {}) =>
  host.run([tool, ...args.split(' ')], {env: {...env, ...more}, mayFail: true});

test('cnitool: add, check, status and del of a real attachment', async (t) => {
  const host = await makeHost(t);
  await setUp(host);
  await host.addNetns('pod');
  const before = await takeSnapshot(host);

  const added = await run(host, 'add weft pod');
  t.is(added.code, 0, added.stderr);
  const result = JSON.parse(added.stdout) as {cniVersion: string; ips: readonly {address: string}[]};
  t.is(result.cniVersion, '1.1.0');
  t.deepEqual(
    result.ips.map(({address}) => address),
    ['10.61.0.2/24', '2001:db8:61::2/64'],
  );
  t.false(added.stdout.endsWith('\n'));
  const shown = await host.run(host.inNetns('pod', ['ip', '-j', 'addr', 'show', 'eth0']));
  t.true(shown.stdout.includes('10.61.0.2'));
  // The id comes from the path: the name and the path are the same container.
  const cached = await host.sh('ls /var/lib/cni/results');
  t.regex(cached.stdout, /^weft-cnitool-[0-9a-f]{20}-eth0\n$/);

  for (const args of [
    'check weft /var/run/netns/pod',
    'status weft pod',
    'del weft /var/run/netns/pod',
    'del weft pod',
  ]) {
    const {code, stdout, stderr} = await run(host, args);
    t.deepEqual({code, stdout, stderr}, {code: 0, stdout: '', stderr: ''}, args);
  }
  await assertNothingLeft(t, host, before, staysByDesign);
});

test('cnitool: check of what is broken fails, gc removes it', async (t) => {
  const host = await makeHost(t);
  await setUp(host);
  await host.addNetns('pod');
  await host.addNetns('other');
  const before = await takeSnapshot(host);
  for (const name of ['pod', 'other']) t.is((await run(host, `add weft ${name}`)).code, 0);
  await host.run(host.inNetns('pod', ['ip', 'link', 'del', 'eth0']));
  const check = await run(host, 'check weft pod');
  t.is(check.code, 1);
  t.is(check.stdout, '');
  t.not(check.stderr, '');
  await host.removeNetns('other');
  const collected = await run(host, 'gc weft pod');
  t.deepEqual({code: collected.code, stderr: collected.stderr}, {code: 0, stderr: ''});
  t.is((await host.sh('ls /var/lib/cni/results')).stdout, '');
  await host.addNetns('other');
  await assertNothingLeft(t, host, before, staysByDesign);
});

test('cnitool: capabilities, arguments and the interface reach the plugins', async (t) => {
  const host = await makeHost(t);
  const {cniVersion: _, name, ...plugin} = bridgeNetwork({name: 'weft'});
  await setUp(host, {name, plugins: [{...plugin, capabilities: {mac: true, ips: true}}]});
  await host.addNetns('pod');
  const added = await run(host, 'add -i net7 weft pod', {
    CAP_ARGS: '{"mac":"02:00:00:00:00:07","ips":["10.61.0.77"]}',
    CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAME=x',
  });
  t.is(added.code, 0, added.stderr);
  const {interfaces, ips} = JSON.parse(added.stdout) as {
    interfaces: readonly {name: string; mac: string}[];
    ips: readonly {address: string}[];
  };
  t.like(interfaces.at(-1), {name: 'net7', mac: '02:00:00:00:00:07'});
  t.is(ips[0]?.address, '10.61.0.77/24');
  t.is((await run(host, 'del -i net7 weft pod')).code, 0);
});

test('cnitool: an error of a plugin is on stderr, with exit code 1', async (t) => {
  const host = await makeHost(t);
  await setUp(host);
  const added = await run(host, 'add weft nothere');
  t.is(added.code, 1);
  t.is(added.stdout, '');
  t.regex(
    added.stderr,
    /^plugin type="bridge" failed \(add\): failed to open netns "\/var\/run\/netns\/nothere": /,
  );
});
