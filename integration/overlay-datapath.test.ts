import type {ExecutionContext} from 'ava';
import type {Family} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {
  makeLocal,
  makeMember,
  makeNetwork,
  makePair,
  reconcile,
  type OverlayHost,
} from './harness/overlay-pair.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

async function ping(t: ExecutionContext, host: OverlayHost, to: string, ...more: string[]) {
  await t.notThrowsAsync(host.run('ping', '-c', '3', '-i', '0.3', '-W', '10', ...more, to), to);
}

const combinations: readonly {readonly overlay: Family[]; readonly underlay: Family[]}[] = [
  {overlay: [4], underlay: [4]},
  {overlay: [6], underlay: [6]},
  {overlay: [4, 6], underlay: [4, 6]},
  {overlay: [4, 6], underlay: [4]},
  {overlay: [4, 6], underlay: [6]},
  {overlay: [4], underlay: [6]},
  {overlay: [6], underlay: [4]},
];

const ranges = {4: parseCidr('10.244.0.0/16')!, 6: parseCidr('fd00:244::/48')!};

for (const {overlay, underlay} of combinations) {
  test(`IPv${overlay.join(' and IPv')} over IPv${underlay.join(' and IPv')}`, async (t) => {
    const [a, b] = await makePair(t);
    const network = makeNetwork({ranges: overlay.map((family) => ranges[family])});
    const members = [1, 2].map((n) => makeMember(n, {overlay, underlay}));
    for (const host of [a, b]) {
      const round = {network, members, local: makeLocal(host, underlay)};
      const {devices} = await reconcile(t, host, round);
      t.true(devices.every(({outcome}) => outcome === 'made'));
      const again = await reconcile(t, host, round);
      t.deepEqual(again.operations, []);
      t.deepEqual(
        again.devices.map(({outcome, what}) => [outcome, what]),
        devices.map(() => ['kept', '']),
      );
    }
    // The largest packet that fits, with "don't fragment".
    const mtu = {4: 1450, 6: 1430}[underlay[0]!];
    if (overlay.includes(4)) {
      await ping(t, a, '10.244.2.1', '-I', '10.244.1.1', '-M', 'do', '-s', String(mtu - 28));
    }
    if (overlay.includes(6)) {
      const least = underlay.includes(6) ? 1430 : 1450;
      await ping(t, a, 'fd00:244:0:2::1', '-I', 'fd00:244:0:1::1', '-M', 'do', '-s', String(least - 48));
    }
    // What the host itself sends has the address of its VTEP.
    await ping(t, b, overlay.includes(4) ? '10.244.1.1' : 'fd00:244:0:1::1');
  });
}
