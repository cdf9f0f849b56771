import test from 'ava';
import {PluginTable} from '../../cli/plugin-table.ts';

test('a plugin is made when it is first asked for, once', (t) => {
  const made: string[] = [];
  const entry = (name: string) =>
    [
      name,
      () => {
        made.push(name);
        return {name};
      },
    ] as const;
  const table = new PluginTable([entry('b'), entry('a')]);
  t.deepEqual([...table.keys()], ['b', 'a']);
  t.true(table.has('a'));
  t.false(table.has('c'));
  t.is(table.get('c'), undefined);
  t.deepEqual(made, []);
  t.is(table.get('a')?.name, 'a');
  t.is(table.get('a'), table.get('a'));
  t.deepEqual(made, ['a']);
});
