import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {Collection, type Change} from '../../../agent/catalog/collection.ts';

interface Thing {
  readonly key: string;
  readonly value: number;
}

const settle = () => new Promise((resolve) => setImmediate(resolve));
const describe = (changes: readonly Change<Thing>[]) =>
  changes.map(({key, before, after}) => `${key} ${before?.value.value ?? '-'} ${after?.value.value ?? '-'}`);

test('changes of one moment are told at once, what was undone is not told', async (t) => {
  const things = new Collection<Thing>();
  const told: string[][] = [];
  things.subscribe((changes) => told.push(describe(changes)));
  things.put('local', {key: 'a', value: 1});
  things.put('local', {key: 'b', value: 2});
  things.put('local', {key: 'c', value: 3});
  things.remove('local', 'c');
  await settle();
  t.deepEqual(told, [['a - 1', 'b - 2']]);
  things.put('local', {key: 'a', value: 1});
  await settle();
  t.is(told.length, 1);
  things.put('local', {key: 'a', value: 4});
  things.remove('local', 'b');
  await settle();
  t.deepEqual(told[1], ['a 1 4', 'b 2 -']);
});

test('what is local hides what others say', async (t) => {
  const things = new Collection<Thing>();
  const told: string[][] = [];
  things.put('remote', {key: 'a', value: 1});
  things.subscribe((changes) => told.push(describe(changes)));
  things.put('local', {key: 'a', value: 2});
  await settle();
  things.remove('remote', 'a');
  await settle();
  things.put('remote', {key: 'a', value: 3});
  things.remove('local', 'a');
  await settle();
  t.deepEqual(told, [['a - 1'], ['a 1 2'], ['a 2 3']]);
  t.is(things.size, 1);
});

test('replace makes just these, and who is late is told of all', async (t) => {
  const things = new Collection<Thing>();
  things.replace('remote', [
    {key: 'a', value: 1},
    {key: 'b', value: 2},
  ]);
  things.replace('remote', [
    {key: 'b', value: 2},
    {key: 'c', value: 3},
  ]);
  const told: string[][] = [];
  const end = things.subscribe((changes) => told.push(describe(changes)));
  t.deepEqual(told, [['b - 2', 'c - 3']]);
  end();
  things.put('local', {key: 'd', value: 4});
  await settle();
  t.is(told.length, 1);
});

test('who waits for news gets them, or an end', async (t) => {
  const things = new Collection<Thing>();
  const {index} = things;
  let isOver = false;
  const waiting = things.waitBeyond(index, 60_000).then(() => (isOver = true));
  await sleep(5);
  t.false(isOver);
  things.put('local', {key: 'a', value: 1});
  await waiting;
  await things.waitBeyond(index, 60_000);
  await things.waitBeyond(things.index, 5);
  const controller = new AbortController();
  const aborted = things.waitBeyond(things.index, 60_000, controller.signal);
  controller.abort();
  await aborted;
  t.pass();
});
