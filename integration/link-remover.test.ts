import type {Request} from '../lib/netlink/message.ts';
import {addLink, findLink, getLink, listLinks, setLink} from '../lib/netlink/route/link.ts';
import {LinkRemover} from '../lib/netlink/route/link-remover.ts';
import {rtm, type RouteSocket} from '../lib/netlink/route/socket.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root');

/** Makes veth pairs, and gives the indices of one end of each. */
async function addVeths(rt: RouteSocket, count: number): Promise<number[]> {
  const names = Array.from({length: count}, (_, i) => `a${i}`);
  await Promise.all(
    names.map((name, i) => addLink(rt, {name, info: {kind: 'veth', data: {peer: {name: `b${i}`}}}})),
  );
  const links = await Promise.all(names.map((name) => getLink(rt, {name})));
  return links.map(({ifindex}) => ifindex);
}

interface Watch {
  /** Called before a request goes out; what it throws is the answer. */
  readonly before?: (request: Request) => Promise<void>;
}

/** The socket, with the removals that go over it counted. */
function watch(rt: RouteSocket, {before}: Watch = {}) {
  const removals: string[] = [];
  const watched = new Proxy(rt, {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as (request: Request, ...more: unknown[]) => Promise<unknown>;
      if (key !== 'request' && key !== 'dump') return method;
      return async (request: Request, ...more: unknown[]) => {
        if (request.type === rtm.delLink) removals.push(request.what);
        await before?.(request);
        return method(request, ...more);
      };
    },
  });
  return {rt: watched, removals};
}

test('a hundred links that are removed at once take one or two requests', async (t) => {
  const {rt} = await makeNamespace(t);
  const all = await addVeths(rt, 102);
  const [kept, ...links] = all as [number, ...number[]];
  const {rt: watched, removals} = watch(rt);
  const remover = new LinkRemover(() => watched);
  const first = remover.remove(links[0]!);
  await first.begun();
  const rest = links.slice(1).map((ifindex) => remover.remove(ifindex));
  await Promise.all([first, ...rest].map((each) => each.gone()));
  t.deepEqual(
    removals.map((what) => what.replace(/\d+$/, 'N')),
    ['remove link N', 'remove 100 links as group N'],
  );
  t.deepEqual((await listLinks(rt, {kind: 'veth'})).map(({name}) => name).sort(), ['a0', 'b0']);
  t.is((await getLink(rt, {ifindex: kept})).group, 0);
});

test('links that are not there are removed already, alone and among others', async (t) => {
  const {rt} = await makeNamespace(t);
  const [a, b] = (await addVeths(rt, 2)) as [number, number];
  const remover = new LinkRemover(() => rt);
  await Promise.all([a, 4711, b, 4712].map((ifindex) => remover.remove(ifindex).gone()));
  t.deepEqual(await listLinks(rt, {kind: 'veth'}), []);
  await remover.remove(a).gone();
  t.pass();
});

test('a link is gone before the kernel answers, and its name is free', async (t) => {
  const {rt} = await makeNamespace(t);
  const {rt: watched} = watch(rt);
  const answers: Promise<unknown>[] = [];
  const request: RouteSocket['request'] = (asked) => {
    const answer = watched.request(asked);
    if (asked.type === rtm.delLink) answers.push(answer);
    return answer;
  };
  const remover = new LinkRemover(
    () =>
      new Proxy(watched, {
        get: (target, key) => (key === 'request' ? request : Reflect.get(target, key, target)),
      }),
  );
  // On a busy machine the kernel may have answered before this thread looks.
  let isEarly = false;
  for (let i = 0; i < 100 && !isEarly; i++) {
    const [ifindex] = (await addVeths(rt, 1)) as [number];
    let isAnswered = false;
    await remover.remove(ifindex).gone();
    void answers.at(-1)!.then(() => (isAnswered = true));
    await Promise.resolve();
    isEarly = !isAnswered;
    t.deepEqual(await listLinks(rt, {kind: 'veth'}), []);
  }
  t.true(isEarly);
  await Promise.all(answers);
});

test("somebody else's link in the group is left, and ours go one by one", async (t) => {
  const {rt} = await makeNamespace(t);
  const [innocent, ...links] = (await addVeths(rt, 4)) as [number, ...number[]];
  const {rt: watched, removals} = watch(rt, {
    async before({what}) {
      const group = /^list the links of group (\d+)$/.exec(what)?.[1];
      if (group !== undefined) await setLink(rt, {ifindex: innocent}, {group: Number(group)});
    },
  });
  const remover = new LinkRemover(() => watched);
  await Promise.all(links.map((ifindex) => remover.remove(ifindex).gone()));
  t.deepEqual(
    removals,
    links.map((ifindex) => `remove link ${ifindex}`),
  );
  const left = await findLink(rt, {ifindex: innocent});
  t.true((left?.group ?? 0) >= 2 ** 30);
});

test('one that left the group before the kernel looked goes by itself', async (t) => {
  const {rt} = await makeNamespace(t);
  const links = (await addVeths(rt, 3)) as [number, ...number[]];
  const {rt: watched, removals} = watch(rt, {
    async before({what}) {
      if (what.startsWith('list the links')) await setLink(rt, {ifindex: links[0]}, {group: 0});
    },
  });
  const remover = new LinkRemover(() => watched);
  await Promise.all(links.map((ifindex) => remover.remove(ifindex).gone()));
  t.is(removals[1], `remove link ${links[0]}`);
  t.deepEqual(await listLinks(rt, {kind: 'veth'}), []);
});

test('where a group is refused each link has its own answer', async (t) => {
  const {rt} = await makeNamespace(t);
  const links = await addVeths(rt, 3);
  const {rt: watched} = watch(rt, {
    before({what}) {
      const isRefused = what.includes('as group') || what === `remove link ${links[1]}`;
      return isRefused ? Promise.reject(new Error('refused')) : Promise.resolve();
    },
  });
  const remover = new LinkRemover(() => watched);
  const outcomes = await Promise.allSettled(links.map((ifindex) => remover.remove(ifindex).gone()));
  t.deepEqual(
    outcomes.map(({status}) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  t.deepEqual((await listLinks(rt, {kind: 'veth'})).map(({name}) => name).sort(), ['a1', 'b1']);
});
