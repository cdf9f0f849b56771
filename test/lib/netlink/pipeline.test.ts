import test from 'ava';
import {NetlinkSocket} from '../../../lib/netlink/socket.ts';
import {pipeline} from '../../../lib/netlink/pipeline.ts';
import {errorMessage, scriptKernel} from '../../helpers/scripted-kernel.ts';

const requests = (count: number) =>
  Array.from({length: count}, (_, i) => ({type: 28, flags: 0x500, what: `request ${i}`}));
const ack = 0x4;

// The sockets of one process take turns: the script stands for the kernel of all of them.
test.serial('many requests travel in few datagrams, each of which is acknowledged once', async (t) => {
  using kernel = scriptKernel((seen) =>
    seen.filter(({flags}) => (flags & ack) !== 0).map(({seq}) => errorMessage(seq, 0)),
  );
  using socket = new NetlinkSocket({protocol: 0});
  const errors = await pipeline(socket, requests(600));
  t.is(errors.length, 600);
  t.true(errors.every((error) => error === undefined));
  t.deepEqual(
    kernel.datagrams.map((datagram) => datagram.length),
    [256, 256, 88],
  );
  t.deepEqual(
    kernel.datagrams.map((datagram) => datagram.filter(({flags}) => (flags & ack) !== 0).length),
    [1, 1, 1],
  );
});

test.serial('each refusal is told, and stops none of the others', async (t) => {
  const refused = new Set([0, 3, 255, 256, 299]);
  let next = 0;
  using _kernel = scriptKernel((seen) =>
    seen.flatMap(({seq, flags}) => {
      const index = next++;
      if (refused.has(index)) return [errorMessage(seq, 2, `no ${index}`)];
      return (flags & ack) !== 0 ? [errorMessage(seq, 0)] : [];
    }),
  );
  using socket = new NetlinkSocket({protocol: 0});
  const errors = await pipeline(socket, requests(300));
  t.deepEqual(
    errors.flatMap((error, i) => (error ? [[i, error.code, error.extack]] : [])),
    [...refused].map((i) => [i, 'ENOENT', `no ${i}`]),
  );
});

test.serial('when the kernel does not answer, all that is left has that error', async (t) => {
  let datagrams = 0;
  using _kernel = scriptKernel((seen) => {
    if (datagrams++ > 0) return [];
    return seen.filter(({flags}) => (flags & ack) !== 0).map(({seq}) => errorMessage(seq, 0));
  });
  using socket = new NetlinkSocket({protocol: 0, timeoutMs: 50});
  const errors = await pipeline(socket, requests(600));
  t.is(errors.filter((error) => error === undefined).length, 256);
  t.true(errors.slice(256).every((error) => error !== undefined));
  t.is(errors[256]?.code, 'ETIMEDOUT');
});

test.serial('nothing costs nothing', async (t) => {
  using kernel = scriptKernel(() => []);
  using socket = new NetlinkSocket({protocol: 0});
  t.deepEqual(await pipeline(socket, []), []);
  t.is(kernel.datagrams.length, 0);
});
