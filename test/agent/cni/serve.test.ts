import test from 'ava';
import type {WarmRequest} from '../../../agent/cni/protocol.ts';
import {serveCall, type Serving} from '../../../agent/cni/serve.ts';
import {Slots} from '../../../agent/cni/slots.ts';
import {Turns} from '../../../agent/cni/turns.ts';

test('a call that waits for many things at once takes one slot again, not one for each', async (t) => {
  const waits = Promise.withResolvers<void>();
  const allowed = Promise.withResolvers<void>();
  const slots = new Slots({count: 3, patienceMs: 60_000});
  const serving: Serving = {
    slots,
    turns: new Turns(),
    calls: {
      trailer: '',
      has: () => true,
      close() {},
      async call(name, io, pause) {
        await Promise.all(Array.from({length: 400}, () => pause(waits.promise)));
        await allowed.promise;
        return 0;
      },
    },
  };
  const request: WarmRequest = {
    name: 'bridge',
    env: {CNI_COMMAND: 'GC'},
    stdin: '',
    pid: process.pid,
    cwd: '/',
    umask: 0o022,
    netns: undefined,
    namespaces: {net: 0n, mnt: 0n, pid: 0n, user: 0n},
    release: '',
  };
  const gc = serveCall(request, serving, () => false);
  // While it waits, all slots are somebody else's.
  for (const slot of await Promise.all([slots.take(), slots.take(), slots.take()])) slot.release();
  waits.resolve();
  await waits.promise;
  // Afterwards it has one of the three.
  for (const slot of await Promise.all([slots.take(), slots.take()])) slot.release();
  allowed.resolve();
  t.is((await gc).exitCode, 0);
  await Promise.all([slots.take(), slots.take(), slots.take()]);
});
