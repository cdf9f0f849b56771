import {testWith} from './harness/needs.ts';
import {makeNamespace} from './harness/namespace.ts';
import {repository} from './harness/paths.ts';

const test = testWith('root', 'apt');

/** What `readLegacyTable` says in a namespace, of both families, as JSON. */
const reader = `
const {readLegacyTable} = await import('${repository}/lib/nat/legacy-blob.ts');
const tables = [4, 6].map((family) => readLegacyTable(family, process.argv[2]));
console.log(JSON.stringify(tables.map((table) => table && {
  forward: process.argv[2] === 'filter' ? table.forward().length : undefined,
  user: table.find('A-USER')?.rules.map(({isSelective, matches, target}) =>
    [isSelective, matches.map(({name}) => name).join(), target.name, target.data.readInt32LE(0)].join(' ')),
  none: table.find('A-USE'),
  last: table.find('THE-LAST')?.rules.length,
  mentions: ['A-USER', 'name: "mynet"', 'absent'].map((text) => table.mentions(text)),
})));`;

test('tables of iptables-legacy are read as the tool made them', async (t) => {
  const namespace = await makeNamespace(t);
  const read = async (table: string) => {
    const argv = [process.execPath, '--no-warnings', '--input-type=module', '-e', reader, 'reader', table];
    return JSON.parse((await namespace.run(...argv)).stdout) as unknown;
  };
  for (const tool of ['iptables-legacy', 'ip6tables-legacy'])
    await namespace.run(
      'sh',
      '-ec',
      `
      ${tool} -N A-USER; ${tool} -N EMPTY; ${tool} -N THE-LAST
      ${tool} -A A-USER -m mark --mark 0x1000/0x1000 -m comment --comment 'name: "mynet"' -j ACCEPT
      ${tool} -A A-USER -i eth0 -j DROP
      ${tool} -A A-USER -p tcp -m multiport --dports 1,2,3 -j RETURN
      ${tool} -A FORWARD -j A-USER
      ${tool} -A FORWARD -p udp -m conntrack --ctstate NEW -j EMPTY
      ${tool} -A THE-LAST -m limit --limit 1/s -j LOG
      ${tool} -t nat -A POSTROUTING -j MASQUERADE`,
    );
  const filter = {
    forward: 2,
    user: ['false mark,comment  -2', 'true   -1', 'true multiport  -5'],
    last: 1,
    mentions: [true, true, false],
  };
  t.deepEqual(await read('filter'), [filter, filter]);
  const nat = {mentions: [false, false, false]};
  t.deepEqual(await read('nat'), [nat, nat]);
});
