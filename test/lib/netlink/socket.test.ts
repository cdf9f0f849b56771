import test from 'ava';
import {isExists, isNotFound, isOverrun, isRetryable, NetlinkError} from '../../../lib/netlink/error.ts';
import {Flag, type Reply, type Request} from '../../../lib/netlink/message.ts';
import {NetlinkSocket, type SocketOptions} from '../../../lib/netlink/socket.ts';
import {doneMessage, errorMessage, scriptKernel, type Said} from '../../helpers/scripted-kernel.ts';

// A real socket, which needs no rights, with a script in the kernel's place. One at a time: the script is everybody's.
const open = (options: Partial<SocketOptions> = {}) =>
  new NetlinkSocket({protocol: 0, timeoutMs: 2000, ...options});
const ask = (what: string, more: Partial<Request> = {}): Request => ({type: 18, what, ...more});
const text = ({buffer, start, end}: Reply) => buffer.toString('latin1', start, end);
const reply = (seq: number, body: string, flags = 0): Said => ({
  seq,
  type: 16,
  flags,
  body: Buffer.from(body),
});

test.serial('requests of one turn travel together and are answered in any order', async (t) => {
  using kernel = scriptKernel((requests) =>
    requests
      .toReversed()
      .map(({seq, body}) => (body.length > 0 ? reply(seq, `${body.toString()}!`) : errorMessage(seq, 0))),
  );
  using socket = open();
  const results = await Promise.all([
    socket.request(ask('change')),
    socket.get(ask('a', {body: Buffer.from('a')}), text),
    socket.get(ask('b', {body: (w) => w.append(Buffer.from('bcdef'))}), text),
  ]);
  t.deepEqual(results, [undefined, 'a!', 'bcdef!']);
  t.is(kernel.datagrams.length, 1);
  // Only the change asks for an acknowledgement: a question is acknowledged by its answer.
  t.deepEqual(
    kernel.datagrams[0]!.map(({flags}) => flags),
    [0x5, 0x1, 0x1],
  );
});

test.serial('an error has errno, code and the sentence of the kernel, and stops nobody else', async (t) => {
  using _ = scriptKernel(([first, second, third]) => [
    errorMessage(first!.seq, 16, 'Device is already a port'),
    errorMessage(second!.seq, 17),
    errorMessage(third!.seq, 0),
  ]);
  using socket = open();
  const [first, second, third] = await Promise.allSettled([
    socket.request(ask('set master')),
    socket.request(ask('add route')),
    socket.request(ask('add rule')),
  ]);
  const error = (first as PromiseRejectedResult).reason as NetlinkError;
  t.is(error.message, 'set master: EBUSY (Device is already a port)');
  t.like(error, {errno: 16, code: 'EBUSY', extack: 'Device is already a port', request: 'set master'});
  const plain = (second as PromiseRejectedResult).reason as NetlinkError;
  t.is(plain.message, 'add route: EEXIST (file exists)');
  t.true(isExists(plain) && !isNotFound(plain) && !isRetryable(plain));
  t.is(third.status, 'fulfilled');
});

test.serial('a dump that fails is an error, not an empty list', async (t) => {
  using _ = scriptKernel(([request]) => [doneMessage(request!.seq, 22, 'Invalid values in header')]);
  using socket = open();
  await t.throwsAsync(socket.dump(ask('list routes'), text), {
    message: 'list routes: EINVAL (Invalid values in header)',
  });
});

test.serial('a dump that is refused at once is an error too', async (t) => {
  using _ = scriptKernel(([request]) => [errorMessage(request!.seq, 1)]);
  using socket = open();
  await t.throwsAsync(socket.dump(ask('list links'), text), {code: 'EPERM'});
});

test.serial('a dump comes in several datagrams; what decodes to undefined is left out', async (t) => {
  using _ = scriptKernel(([request], kernel) => {
    kernel.say([reply(request!.seq, 'a', 2), reply(request!.seq, 'skip', 2)]);
    kernel.say([reply(request!.seq, 'b', 2)]);
    return [doneMessage(request!.seq)];
  });
  using socket = open();
  const list = await socket.dump(ask('list'), (message) =>
    text(message) === 'skip' ? undefined : text(message),
  );
  t.deepEqual(list, ['a', 'b']);
});

test.serial('an interrupted dump is made again', async (t) => {
  let times = 0;
  using kernel = scriptKernel(([request]) => {
    times++;
    return [
      reply(request!.seq, `${times}`, 2 | (times < 6 ? Flag.dumpInterrupted : 0)),
      doneMessage(request!.seq),
    ];
  });
  using socket = open();
  t.deepEqual(await socket.dump(ask('list'), text), ['6']);
  t.is(kernel.datagrams.length, 6);
});

test.serial('a dump that is always interrupted is an error', async (t) => {
  using kernel = scriptKernel(([request]) => [
    {...doneMessage(request!.seq), flags: Flag.multi | Flag.dumpInterrupted},
  ]);
  using socket = open();
  const error = await t.throwsAsync(socket.dump(ask('list'), text), {
    message: 'list: EINTR (the list changed 20 times while it was read)',
  });
  t.true(isRetryable(error));
  t.is(kernel.datagrams.length, 20);
});

test.serial('dumps of one socket go one after the other, whatever becomes of them', async (t) => {
  let running = 0;
  using _ = scriptKernel((requests, kernel) => {
    running += requests.length;
    t.is(running, 1);
    for (const {seq} of requests) {
      setTimeout(() => {
        running--;
        kernel.say(seq === 1 ? [errorMessage(seq, 5)] : [reply(seq, `${seq}`, 2), doneMessage(seq)]);
      }, 5);
    }
    return [];
  });
  using socket = open();
  const results = await Promise.allSettled([1, 2, 3].map(() => socket.dump(ask('list'), text)));
  t.deepEqual(
    results.map(({status}) => status),
    ['rejected', 'fulfilled', 'fulfilled'],
  );
});

test.serial('a question acknowledged without an answer is an error', async (t) => {
  using _ = scriptKernel(([request]) => [errorMessage(request!.seq, 0)]);
  using socket = open();
  await t.throwsAsync(socket.get(ask('get link'), text), {message: 'get link: the kernel gave no answer'});
});

test.serial('an answer that cannot be read is an error of that request', async (t) => {
  using _ = scriptKernel(([request]) => [
    reply(request!.seq, 'x', 2),
    reply(request!.seq, 'y', 2),
    doneMessage(request!.seq),
  ]);
  using socket = open();
  const error = await t.throwsAsync(
    socket.dump(ask('list'), () => {
      throw new RangeError('name: 1 bytes instead of 4');
    }),
    {message: "list: the kernel's answer cannot be read"},
  );
  t.is((error.cause as Error).message, 'name: 1 bytes instead of 4');
  t.false(socket.closed);
});

test.serial('a request that cannot be written is an error of that request', async (t) => {
  using kernel = scriptKernel((requests) => requests.map(({seq}) => errorMessage(seq, 0)));
  using socket = open();
  const [bad, good] = await Promise.allSettled([
    socket.request(
      ask('bad', {
        body(w) {
          w.append(Buffer.alloc(50));
          throw new RangeError('mtu: -1 is out of range');
        },
      }),
    ),
    socket.request(ask('good', {body: Buffer.from('ok')})),
  ]);
  t.is((bad as PromiseRejectedResult).reason.message, 'mtu: -1 is out of range');
  t.is(good.status, 'fulfilled');
  t.deepEqual(
    kernel.datagrams.map((datagram) => datagram.map(({body}) => body.toString())),
    [['ok']],
  );
});

test.serial('no answer: ETIMEDOUT, and the socket is not used any more', async (t) => {
  const errors: NetlinkError[] = [];
  using _ = scriptKernel(() => []);
  using socket = open({timeoutMs: 30, onError: (error) => errors.push(error)});
  const results = await Promise.allSettled([socket.request(ask('add link')), socket.dump(ask('list'), text)]);
  for (const result of results) t.is((result as PromiseRejectedResult).reason.code, 'ETIMEDOUT');
  t.is((results[0] as PromiseRejectedResult).reason.message, 'add link: ETIMEDOUT (no answer within 30 ms)');
  t.true(socket.closed);
  t.is(errors.length, 1);
  await t.throwsAsync(socket.request(ask('again')), {message: 'again: EBADF (the netlink socket is closed)'});
  await t.throwsAsync(socket.dump(ask('again'), text), {code: 'EBADF'});
  await t.throwsAsync(socket.batch([ask('again')]), {code: 'EBADF'});
});

test.serial('an answer that is there already counts, however long the thread slept', async (t) => {
  using _ = scriptKernel((requests) => {
    const until = Date.now() + 60;
    setTimeout(() => {
      // As when a system call waits for a lock of the kernel.
      while (Date.now() < until);
    }, 1);
    return requests.map(({seq}) => errorMessage(seq, 0));
  });
  using socket = open({timeoutMs: 20});
  await t.notThrowsAsync(socket.request(ask('slow')));
});

test.serial('messages of other processes are not listened to', async (t) => {
  using _ = scriptKernel(([request], kernel) => {
    kernel.say([errorMessage(request!.seq, 1)], {port: 4711});
    return [errorMessage(request!.seq, 0)];
  });
  using socket = open();
  await t.notThrowsAsync(socket.request(ask('change')));
});

test.serial('notifications go to their listener, answers to nobody are dropped', async (t) => {
  const heard: string[] = [];
  using kernel = scriptKernel(([request]) => [
    reply(0, 'news'),
    errorMessage(999, 5),
    errorMessage(request!.seq, 0),
  ]);
  using socket = open({onNotification: (message) => heard.push(text(message))});
  await socket.request(ask('change'));
  t.deepEqual(heard, ['news']);
  t.is(kernel.datagrams.length, 1);
});

test.serial('a listener that fails closes the socket', async (t) => {
  using _ = scriptKernel(([request]) => [reply(0, 'news'), errorMessage(request!.seq, 0)]);
  using socket = open({
    onNotification() {
      throw new Error('mtu: 1 bytes instead of 4');
    },
  });
  await t.throwsAsync(socket.request(ask('change')), {message: 'change: EPROTO (mtu: 1 bytes instead of 4)'});
});

test.serial('no more than 64 requests are in flight, and none is lost', async (t) => {
  let most = 0;
  let underWay = 0;
  using kernel = scriptKernel((requests, each) => {
    underWay += requests.length;
    most = Math.max(most, underWay);
    setTimeout(() => {
      underWay -= requests.length;
      each.say(requests.map(({seq}) => reply(seq, `${seq}`)));
    }, 1);
    return [];
  });
  using socket = open();
  const answers = await Promise.all(Array.from({length: 1000}, () => socket.get(ask('get'), text)));
  t.is(new Set(answers).size, 1000);
  t.is(most, 64);
  t.is(kernel.datagrams.length, 16);
});

test.serial('a batch is one datagram, and every message has its outcome', async (t) => {
  using kernel = scriptKernel((requests) => {
    const [, first, second, third] = requests;
    return [
      reply(first!.seq, 'echo'),
      errorMessage(first!.seq, 0),
      errorMessage(second!.seq, 2),
      errorMessage(third!.seq, 0),
    ];
  });
  using socket = open();
  const message = (what: string): Request => ({type: 2560, flags: Flag.ack, what});
  const outcomes = await socket.batch([ask('begin'), message('a'), message('b'), message('c'), ask('end')]);
  t.deepEqual(
    outcomes.map(({error}) => error?.code),
    [undefined, undefined, 'ENOENT', undefined, undefined],
  );
  t.deepEqual(outcomes[1]!.replies.map(text), ['echo']);
  t.is(kernel.datagrams.length, 1);
});

test.serial('a batch whose begin is refused ends there', async (t) => {
  using _ = scriptKernel(([begin]) => [errorMessage(begin!.seq, 85)]);
  using socket = open();
  const [begin, message] = await socket.batch([ask('begin'), ask('a', {flags: Flag.ack}), ask('end')]);
  t.is(begin!.error?.code, 'ERESTART');
  t.is(message!.error, undefined);
});

test.serial('a closed socket answers what is open', async (t) => {
  using _ = scriptKernel(() => []);
  const socket = open();
  const asked = socket.request(ask('change'));
  socket.close();
  socket.close();
  await t.throwsAsync(asked, {code: 'EBADF'});
});

test.serial('an answer that makes no sense closes the socket', async (t) => {
  using _ = scriptKernel(([request]) => [{seq: request!.seq, type: 2, body: Buffer.alloc(2)}]);
  using socket = open();
  await t.throwsAsync(socket.request(ask('change')), {code: 'EPROTO'});
  t.true(socket.closed);
});

test.serial('what is cut off is an overrun', async (t) => {
  using kernel = scriptKernel(() => {
    setImmediate(() =>
      kernel.raw.emit('truncatedMessage', Buffer.alloc(0), {port: 0, groups: 0, truncated: 1}),
    );
    return [];
  });
  using socket = open();
  const error = await t.throwsAsync(socket.get(ask('get link'), text), {code: 'ENOBUFS'});
  t.true(isOverrun(error));
});
