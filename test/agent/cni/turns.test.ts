import test from 'ava';
import {Turns} from '../../../agent/cni/turns.ts';

test('work of one key happens in order, of others at the same time', async (t) => {
  const turns = new Turns();
  const log: string[] = [];
  const gates = new Map(['a1', 'a2', 'b1'].map((name) => [name, Promise.withResolvers<void>()]));
  const work = (name: string) => async () => {
    log.push(`begin ${name}`);
    await gates.get(name)!.promise;
    log.push(`end ${name}`);
    return name;
  };
  const all = Promise.all([
    turns.run('a', work('a1')),
    turns.run('a', work('a2')),
    turns.run('b', work('b1')),
  ]);
  gates.get('b1')!.resolve();
  gates.get('a2')!.resolve();
  await new Promise(setImmediate);
  t.deepEqual(log, ['begin a1', 'begin b1', 'end b1']);
  t.true(turns.isTaken('a'));
  gates.get('a1')!.resolve();
  t.deepEqual(await all, ['a1', 'a2', 'b1']);
  t.deepEqual(log.slice(3), ['end a1', 'begin a2', 'end a2']);
  t.false(turns.isTaken('a'));
  t.false(turns.isTaken('b'));
});

test('what fails stops nobody behind it', async (t) => {
  const turns = new Turns();
  const failing = turns.run('a', () => Promise.reject(new Error('no')));
  const next = turns.run('a', () => Promise.resolve('yes'));
  await t.throwsAsync(failing, {message: 'no'});
  t.is(await next, 'yes');
  t.false(turns.isTaken('a'));
});
