import test from 'ava';
import {Undo} from '../../../lib/cni/undo.ts';

test('steps are taken back in reverse; one that fails is a warning and keeps none of the others', async (t) => {
  const said: string[] = [];
  const fail = async () => {
    await using undo = new Undo({warn: (message) => void said.push(message)});
    undo.add('remove the first', () => said.push('first'));
    undo.add('remove the second', () => Promise.reject(new Error('no')));
    undo.add('remove the third', async () => void said.push('third'));
    throw new Error('the ADD failed');
  };
  await t.throwsAsync(fail, {message: 'the ADD failed'});
  t.deepEqual(said, ['third', 'undoing a failed ADD: could not remove the second: no', 'first']);
});

test('after commit nothing is taken back', async (t) => {
  const succeed = async () => {
    await using undo = new Undo({warn: t.fail});
    undo.add('remove it', () => t.fail());
    undo.commit();
  };
  await t.notThrowsAsync(succeed);
});
