import test from 'ava';
import {parseIp} from '../../../lib/ip/address.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {NetlinkError} from '../../../lib/netlink/error.ts';
import type {RouteSocket} from '../../../lib/netlink/route/socket.ts';
import {applyOperations} from '../../../lib/overlay/apply.ts';
import {endEntry, type Operation} from '../../../lib/overlay/operation.ts';
import {recordingNetlink} from '../../helpers/recording-netlink.ts';

const neighbour = (peer: string | undefined, action: 'set' | 'remove'): Operation => ({
  peer,
  kind: 'neighbour',
  action,
  why: action === 'set' ? 'missing' : 'stale',
  entry: {ifindex: 3, ip: parseIp('10.244.2.0')!, lladdr: '02:00:00:00:00:02'},
});
const end = (peer: string, action: 'set' | 'remove', mac = '02:00:00:00:00:02'): Operation => ({
  peer,
  kind: 'end',
  action,
  why: 'missing',
  entry: endEntry(3, {mac, to: parseIp('192.0.2.2')!}),
});
const route = (peer: string, action: 'set' | 'remove'): Operation => ({
  peer,
  kind: 'route',
  action,
  why: 'missing',
  route: {dst: parseCidr('10.244.2.0/24')!, ifindex: 3, gateway: parseIp('10.244.2.0')!},
});

// asm-generic/errno*.h
const errno = {ENOENT: 2, ESRCH: 3, EEXIST: 17, ENODEV: 19, EINVAL: 22, ENETDOWN: 100};

/** A kernel that refuses some of the requests, by their number. */
function refusing(
  refusals: Readonly<Record<number, keyof typeof errno>>,
): RouteSocket & {sent: {type: number}[]} {
  const recording = recordingNetlink();
  let next = 0;
  return {
    ...recording,
    async batch(requests) {
      await recording.batch(requests);
      return requests.map(({what}) => {
        const code = refusals[next++];
        return {error: code && new NetlinkError(what, errno[code]), replies: []};
      });
    },
  };
}

test('every operation is one message of its kind', async (t) => {
  const rt = refusing({});
  const operations = [
    neighbour('a', 'set'),
    end('a', 'set'),
    end('a', 'set', '00:00:00:00:00:00'),
    route('a', 'set'),
    route('a', 'remove'),
    end('a', 'remove'),
    neighbour('a', 'remove'),
  ];
  const applied = await applyOperations(rt, operations);
  t.like(applied, {done: 7, failed: [], deviceGone: false});
  t.deepEqual(
    rt.sent.map(({type}) => type),
    [28, 28, 28, 24, 25, 29, 29],
  );
});

test('what fails for one peer is told for that peer; the others go on', async (t) => {
  const operations = [neighbour('a', 'set'), route('a', 'set'), neighbour('b', 'set'), route('b', 'set')];
  const applied = await applyOperations(refusing({0: 'EINVAL', 1: 'ENOENT'}), operations);
  t.is(applied.done, 2);
  t.deepEqual(
    applied.failed.map(({operation, error}) => [operation.peer, operation.kind, error.code]),
    [
      ['a', 'neighbour', 'EINVAL'],
      ['a', 'route', 'ENOENT'],
    ],
  );
  t.deepEqual(
    [...applied.failedPeers].map(([peer, {code}]) => [peer, code]),
    [['a', 'EINVAL']],
  );
  t.false(applied.deviceGone);
});

test('what is removed already, and what is there already, is done', async (t) => {
  const operations = [route('a', 'remove'), end('a', 'remove'), end('a', 'set', '00:00:00:00:00:00')];
  const applied = await applyOperations(refusing({0: 'ESRCH', 1: 'ENOENT', 2: 'EEXIST'}), operations);
  t.like(applied, {done: 3, failed: [], deviceGone: false});
});

test('a device that is gone or down means that everything has to be looked at', async (t) => {
  const gone = await applyOperations(refusing({0: 'ENODEV'}), [neighbour('a', 'set')]);
  t.true(gone.deviceGone);
  t.is(gone.failed.length, 1);
  const removed = await applyOperations(refusing({0: 'ENODEV'}), [neighbour(undefined, 'remove')]);
  t.true(removed.deviceGone);
  t.deepEqual(removed.failed, []);
  t.true((await applyOperations(refusing({0: 'ENETDOWN'}), [route('a', 'set')])).deviceGone);
});
