import test from 'ava';
import {Slots} from '../../../agent/cni/slots.ts';

const forever = 1 << 30;
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('an idle one begins at once', async (t) => {
  const slots = new Slots({count: 2, patienceMs: forever});
  let isTurned = false;
  setImmediate(() => (isTurned = true));
  const slot = await slots.take();
  t.false(isTurned);
  slot.release();
});

test('so many at a time, in order of asking, who has begun something first', async (t) => {
  const slots = new Slots({count: 2, patienceMs: forever});
  const begun: string[] = [];
  const take = async (name: string, options = {}) => {
    const slot = await slots.take(options);
    begun.push(name);
    return slot;
  };
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => take(name));
  for (let i = 0; i < 5; i++) await nextTurn();
  t.deepEqual(begun, ['a', 'b']);
  const e = take('e', {first: true});
  (await a!).release();
  (await a!).release();
  for (let i = 0; i < 5; i++) await nextTurn();
  t.deepEqual(begun, ['a', 'b', 'e']);
  for (const slot of [b!, e]) (await slot).release();
  for (const slot of [c!, d!]) (await slot).release();
  t.deepEqual(begun, ['a', 'b', 'e', 'c', 'd']);
});

test('no two begin in one turn of the event loop', async (t) => {
  const slots = new Slots({count: 10, patienceMs: forever});
  const turns: number[] = [];
  let turn = 0;
  const taken = Promise.all(
    Array.from({length: 5}, async () => {
      const slot = await slots.take();
      turns.push(turn);
      return slot;
    }),
  );
  for (; turns.length < 5; turn++) await nextTurn();
  // The first begins at once, and the second may before this turn is counted.
  t.true(new Set(turns).size >= 4);
  for (const slot of await taken) slot.release();
});

test('who holds one for long keeps nobody waiting', async (t) => {
  const slots = new Slots({count: 1, patienceMs: 5});
  const first = await slots.take();
  const second = await slots.take();
  // Its slot is another's by now.
  first.release();
  let isThird = false;
  void slots.take().then((slot) => {
    isThird = true;
    slot.release();
  });
  await nextTurn();
  t.false(isThird);
  second.release();
  for (let i = 0; i < 3; i++) await nextTurn();
  t.true(isThird);
});
