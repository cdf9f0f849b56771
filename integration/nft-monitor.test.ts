import {setTimeout as sleep} from 'node:timers/promises';
import {NftMonitor, type NftRemoval} from '../lib/netlink/nft/monitor.ts';
import {makeNamespace} from './harness/namespace.ts';
import {testWith} from './harness/needs.ts';

const test = testWith('root', 'apt');

test('of what is removed, the tables and who did it are told', async (t) => {
  const {netns, run} = await makeNamespace(t);
  const removals: NftRemoval[] = [];
  const monitor = new NftMonitor({
    inNamespace: (open) => netns.run(open),
    onRemoval: (removal) => removals.push(removal),
    onResync: (error) => t.fail(error.message),
  });
  t.teardown(() => monitor.close());
  const heard = async () => {
    for (let i = 0; i < 100 && removals.length === 0; i++) await sleep(50);
    return removals.splice(0).map(({tables, thread}) => [[...tables].sort(), thread]);
  };
  // What is made is nothing to tell.
  await run(
    'nft',
    'add table inet one; add table ip two; add chain inet one c; add set inet one s { type mark ; }',
  );
  await run('nft', 'add rule inet one c accept; add element inet one s { 1 }');
  await run('nft', 'delete element inet one s { 1 }');
  t.deepEqual(await heard(), [[['one'], 'nft']]);
  await run('nft', 'flush table inet one');
  t.deepEqual(await heard(), [[['one'], 'nft']]);
  await run('nft', 'flush ruleset');
  t.deepEqual(await heard(), [[['one', 'two'], 'nft']]);
});
