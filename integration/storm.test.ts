import {makeHost} from './harness/host.ts';
import {testWith} from './harness/needs.ts';
import {bridgeNetwork} from './harness/networks.ts';
import {callPlugin} from './harness/plugin.ts';
import {assertNothingLeft, staysByDesign, takeSnapshot} from './harness/snapshot.ts';

const test = testWith('root');

test('100 ADDs at once all succeed with distinct addresses; 100 DELs at once leave nothing', async (t) => {
  const host = await makeHost(t);
  const conf = bridgeNetwork({name: 'storm'});
  const netnses = await host.addNetnses('pod', 100);
  const before = await takeSnapshot(host);
  const calls = netnses.map((netns, index) => ({conf, netns, containerId: `storm-${index}`}));
  const options = {timeoutMs: 60_000, log: () => {}};
  const results = await Promise.all(
    calls.map((call) => callPlugin(host, {...call, command: 'ADD', options})),
  );
  const addresses = results.flatMap(({ips = []}) => ips.map(({address}) => address));
  t.is(addresses.length, 200);
  t.is(new Set(addresses).size, 200);
  const one = await host.run(
    host.inNetns('pod-0', ['ping', '-c', '1', '-W', '5', ipOf(results[99]?.ips?.[0])]),
  );
  t.is(one.code, 0);
  await Promise.all(
    calls.map((call, index) =>
      callPlugin(host, {...call, command: 'DEL', options, prevResult: results[index]}),
    ),
  );
  await assertNothingLeft(t, host, before, [...staysByDesign, /^file \/run\/xtables.lock$/]);
});

function ipOf(config: {readonly address: string} | undefined): string {
  return config?.address.split('/')[0] ?? '';
}
