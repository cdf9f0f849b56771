import {setTimeout} from 'node:timers/promises';
import {Backoff} from '../agent/overlay/backoff.ts';
import {Datapath} from '../agent/overlay/datapath.ts';
import {parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {NetlinkError} from '../lib/netlink/error.ts';
import {Flag} from '../lib/netlink/message.ts';
import {listNeighbours, neighbourState} from '../lib/netlink/route/neighbour.ts';
import {getLink} from '../lib/netlink/route/link.ts';
import type {RouteSocket} from '../lib/netlink/route/socket.ts';
import {sysctl} from '../lib/netns/sysctl.ts';
import {planDesired} from '../lib/overlay/desired.ts';
import type {Member} from '../lib/overlay/member.ts';
import type {ExecutionContext} from 'ava';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

const member = (index: number): Member => ({
  id: `n${index}`,
  underlay: [parseIp(`192.168.50.${index}`)!],
  subnets: [parseCidr(`10.244.${index}.0/24`)!],
  macs: {4: `02:00:00:00:00:0${index}`},
});

/** The kernel, but for changes whose words match: those it refuses. */
function refusing(rt: RouteSocket, refused: () => RegExp | undefined): RouteSocket {
  const isRefused = (what: string) => refused()?.test(what) ?? false;
  return {
    family: 'route',
    request: (request) => rt.request(request),
    get: (request, decode) => rt.get(request, decode),
    dump: (request, decode) => rt.dump(request, decode),
    async batch(requests, options) {
      const sent = requests.filter(({what}) => !isRefused(what));
      // The last one is the one whose acknowledgement is waited for.
      const asked = sent.map((request, i) =>
        i === sent.length - 1 ? {...request, flags: (request.flags ?? 0) | Flag.ack} : request,
      );
      const outcomes = asked.length === 0 ? [] : await rt.batch(asked, options);
      return requests.map((request) =>
        isRefused(request.what)
          ? {error: new NetlinkError(request.what, 12), replies: []}
          : outcomes[sent.indexOf(request)]!,
      );
    },
    close: () => {},
  };
}

const network = {
  name: 'pods',
  form: 'routed',
  vni: 1,
  port: 8472,
  ranges: [parseCidr('10.244.0.0/16')!],
  directRouting: false,
} as const;

/** A host of an overlay whose kernel refuses what `kernel.refused` says. */
async function makeDatapath(t: ExecutionContext, backoff: Backoff) {
  const {netns, rt, run} = await makeNamespace(t);
  await run('ip', 'link', 'add', 'eth0', 'type', 'veth', 'peer', 'name', 'other');
  await run('ip', 'address', 'add', '192.168.50.1/24', 'dev', 'eth0');
  await run('ip', 'link', 'set', 'eth0', 'up');
  const {ifindex} = await getLink(rt, {name: 'eth0'});
  const carrier = {ifindex, mtu: 1500, addresses: [parseIp('192.168.50.1')!]};
  const kernel: {refused: RegExp | undefined} = {refused: undefined};
  const host = {
    rt: refusing(rt, () => kernel.refused),
    sysctl: {
      read: (name: string) => netns.run(() => sysctl.read(name)),
      write: (name: string, value: string) => netns.run(() => sysctl.write(name, value)),
      ensure: (name: string, value: string) => netns.run(() => sysctl.ensure(name, value)),
    },
  };
  return {
    kernel,
    datapath: new Datapath(
      () => host,
      backoff,
      (work) => work(),
    ),
    desire: (...indexes: number[]) =>
      planDesired({network, self: member(1), peers: indexes.map(member)}, {carrier}),
    programmed: async () => {
      const {ifindex: device} = await getLink(rt, {name: 'flannel.1'});
      const found = await listNeighbours(rt, {ifindex: device, family: 4});
      return found.filter(({state = 0}) => (state & neighbourState.permanent) !== 0).length;
    },
  };
}

test.serial(
  'what the kernel refuses for one peer is tried again for that one alone, less and less often',
  async (t) => {
    const backoff = new Backoff({firstMs: 50, mostMs: 400});
    const {kernel, datapath, desire, programmed} = await makeDatapath(t, backoff);
    kernel.refused = /10\.244\.3\.0/;
    const first = await datapath.syncAll(desire(2, 3, 4));
    t.is(await programmed(), 2);
    t.deepEqual([...new Set(first.failed.map(({peer}) => peer))], ['n3']);
    t.regex(first.failed[0]!.error, /ENOMEM/);

    // A moment later it is left alone, and still counts as failed.
    const second = await datapath.syncAll(desire(2, 3, 4));
    t.is(second.operations.length, 0);
    t.true(second.failed.length > 0);
    t.is(await datapath.syncDelta(desire(2, 3, 4)), undefined, 'nothing may be taken for granted');

    // Others come and go meanwhile.
    await datapath.syncAll(desire(2, 3, 4, 5));
    t.is(await programmed(), 3);

    await setTimeout((backoff.nextInMs() ?? 0) + 5);
    const third = await datapath.syncAll(desire(2, 3, 4, 5));
    t.true(third.operations.length > 0 && third.operations.every(({peer}) => peer === 'n3'));
    t.true((backoff.nextInMs() ?? 0) > 50);

    kernel.refused = undefined;
    await setTimeout((backoff.nextInMs() ?? 0) + 5);
    const fourth = await datapath.syncAll(desire(2, 3, 4, 5));
    t.deepEqual(fourth.failed, []);
    t.is(await programmed(), 4);
    t.is(backoff.size, 0);
    t.is((await datapath.syncDelta(desire(2, 3, 4)))?.kind, 'delta');
    t.is(await programmed(), 3);
  },
);

test.serial('one that failed and went leaves nothing to be tried again', async (t) => {
  const backoff = new Backoff({firstMs: 10, mostMs: 60_000});
  const {kernel, datapath, desire} = await makeDatapath(t, backoff);
  kernel.refused = /10\.244\.[34]\.0/;
  await datapath.syncAll(desire(2, 3));
  for (let i = 0; i < 3; i++) {
    await setTimeout((backoff.nextInMs() ?? 0) + 2);
    await datapath.syncAll(desire(2, 3));
  }
  // The one that waits for long must not be looked for because of one that is gone.
  await datapath.syncAll(desire(2, 4));
  t.is(backoff.size, 1);
  t.is(backoff.errorOf('n3'), undefined);
  t.true((backoff.nextInMs() ?? 0) > 0);
});
