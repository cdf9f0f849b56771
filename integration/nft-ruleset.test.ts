import {testWith} from './harness/needs.ts';
import {makeNftHost} from '../test/helpers/nft-host.ts';
import {ipBytes, parseIp} from '../lib/ip/address.ts';
import {parseCidr} from '../lib/ip/cidr.ts';
import {isBusy, isExists, isNotFound, isRetryable} from '../lib/netlink/error.ts';
import {addChain, deleteChain, ensureChain, findChain, listChains} from '../lib/netlink/nft/chain.ts';
import {
  addElements,
  deleteElements,
  ensureElements,
  findElement,
  listElements,
} from '../lib/netlink/nft/element.ts';
import {formatOperations} from '../lib/netlink/nft/operation.ts';
import type {Operation} from '../lib/netlink/nft/operation.ts';
import {addRule, deleteRule, flushChain, insertRule, listRules} from '../lib/netlink/nft/rule.ts';
import {addSet, deleteSet, ensureSet} from '../lib/netlink/nft/set.ts';
import {
  masquerade,
  matchAddress,
  matchInputInterface,
  matchSourceMac,
  verdict,
  verdictOfAddress,
} from '../lib/netlink/nft/statement.ts';
import {addTable, deleteTable, ensureTable, findTable, listTables} from '../lib/netlink/nft/table.ts';
import {commit, getGeneration, transact, tryCommit} from '../lib/netlink/nft/transaction.ts';

const test = testWith('root', 'apt');

const table = {family: 'inet', table: 'weft'} as const;
const base = {...table, chain: 'entry', base: {type: 'nat', hook: 'postrouting', priority: 101}} as const;
const target = {...table, chain: 'target/10.1.0.0'} as const;
const map4 = {...table, set: 'four', key: 'ipv4_addr', data: 'verdict', id: 1} as const;
const map6 = {...table, set: 'six', key: 'ipv6_addr', data: 'verdict', id: 2} as const;
const ports = {
  ...table,
  set: 'ports',
  key: ['inet_proto', 'inet_service'],
  data: ['ipv4_addr', 'inet_service'],
  id: 3,
} as const;
const bridge = {family: 'bridge', table: 'nat'} as const;
const key = (text: string) => ipBytes(parseIp(text)!);
const to = (text: string) => matchAddress('daddr', parseCidr(text)!);
const goto = {kind: 'goto', chain: target.chain} as const;

/** Some of everything. */
const operations: readonly Operation[] = [
  addTable({...table, comment: 'a table'}),
  addSet({...map4, comment: 'by address'}),
  ensureSet(map6),
  ensureSet(ports),
  addSet({...table, set: 'macs', key: 'ether_addr', id: 4}),
  addSet({...table, set: 'names', key: 'ifname', id: 5}),
  addSet({...table, set: 'marks', key: 'mark', data: 'ipv6_addr', id: 6}),
  addChain(base),
  addChain({...target, comment: 'a chain'}),
  addRule({...base, statements: [verdictOfAddress('saddr', 4, map4)]}),
  addRule({...base, statements: [verdictOfAddress('saddr', 6, map6)]}),
  addRule({...target, statements: [to('10.1.0.7/16'), verdict({kind: 'return'})]}),
  addRule({...target, statements: [to('10.1.2.3/32'), verdict({kind: 'return'})]}),
  addRule({...target, statements: [to('172.16.0.0/12'), verdict({kind: 'accept'})]}),
  addRule({...target, statements: [to('fd00:1::/61'), verdict({kind: 'return'})]}),
  addRule({...target, statements: [to('ff00::/8'), verdict({kind: 'return'})]}),
  addRule({...target, statements: [to('0.0.0.0/0'), masquerade()], comment: 'the last'}),
  insertRule({...target, statements: [verdict({kind: 'continue'})]}),
  addElements(map4, [
    {key: key('10.1.0.5'), verdict: goto, comment: 'someone\'s, "quoted"'},
    {key: key('10.1.0.6'), verdict: {kind: 'jump', chain: target.chain}},
  ]),
  ensureElements(map6, [{key: key('fd00:1::5'), verdict: goto, comment: 'ä'.repeat(64)}]),
  addElements(ports, [
    {key: Buffer.from('060000001f900000', 'hex'), data: Buffer.from('0a01000500500000', 'hex')},
  ]),
  addTable(bridge),
  addChain({
    ...bridge,
    chain: 'PREROUTING',
    base: {type: 'filter', hook: 'prerouting', priority: -300, policy: 'drop'},
  }),
  addRule({
    ...bridge,
    chain: 'PREROUTING',
    statements: [
      matchInputInterface('veth1234'),
      matchSourceMac('02:00:00:00:00:01'),
      verdict({kind: 'drop'}),
    ],
  }),
];

test('what we make is what nft makes of our text', async (t) => {
  const ours = await makeNftHost(t);
  await commit(ours.nft, operations);
  const theirs = await makeNftHost(t);
  await theirs.script(formatOperations(operations));
  const list = await ours.list();
  t.deepEqual(list, await theirs.list());
  t.is(list.filter((object) => (object as {kind: string}).kind === 'rule').length, 10);
});

test('nft loads again what it lists of ours', async (t) => {
  const {host, nft, list, script} = await makeNftHost(t);
  await commit(nft, operations);
  const before = await list();
  const {stdout} = await host.run(['nft', 'list', 'ruleset']);
  await script(`flush ruleset\n${stdout}`);
  t.deepEqual(await list(), before);
});

test('what we made can be read back', async (t) => {
  const {nft} = await makeNftHost(t);
  await commit(nft, operations);
  t.is((await findTable(nft, table))?.comment, 'a table');
  t.deepEqual(await listTables(nft, 'bridge'), ['nat']);
  t.like(await findChain(nft, base), {type: 'nat', hook: 4, priority: 101});
  t.is((await findChain(nft, target))?.comment, 'a chain');
  t.deepEqual(
    (await listChains(nft, table)).map(({chain}) => chain).sort(),
    [base.chain, target.chain].sort(),
  );
  t.deepEqual(await findElement(nft, map4, key('10.1.0.5')), {
    key: key('10.1.0.5'),
    verdict: goto,
    comment: "someone's, quoted",
  });
  t.is((await listElements(nft, map4)).length, 2);
  t.is((await listElements(nft, map6))[0]?.comment, 'ä'.repeat(64));
  const rules = await listRules(nft, target);
  t.is(rules.length, 7);
  t.is(rules.at(-1)?.comment, 'the last');
});

test('what is missing is not found, whatever of it is missing', async (t) => {
  const {nft} = await makeNftHost(t);
  t.is(await findTable(nft, table), undefined);
  t.is(await findChain(nft, base), undefined);
  t.is(await findElement(nft, map4, key('10.1.0.5')), undefined);
  t.deepEqual(await listElements(nft, map4), []);
  t.deepEqual(await listRules(nft, base), []);
  t.deepEqual(await listChains(nft, table), []);
  await commit(nft, [ensureTable(table), ensureSet(map4)]);
  t.is(await findElement(nft, map4, key('10.1.0.5')), undefined);
});

test('a transaction happens whole or not at all, and the error names what was refused', async (t) => {
  const {nft} = await makeNftHost(t);
  const refused = [ensureTable(table), deleteChain(target), ensureSet(map4), flushChain(base)];
  const failures = await tryCommit(nft, refused);
  t.deepEqual(
    failures.map(({operation}) => operation),
    [refused[1], refused[3]],
  );
  const error = await t.throwsAsync(commit(nft, refused));
  t.regex(error.message, /^delete chain inet weft target\/10\.1\.0\.0: ENOENT/);
  t.true(isNotFound(error));
  t.is(await findTable(nft, table), undefined);
});

test('adding what is there fails, ensuring it does not', async (t) => {
  const {nft} = await makeNftHost(t);
  await commit(nft, operations);
  const at = {...map4, id: 9};
  for (const operation of [addTable(table), addSet(at), addChain(target)]) {
    t.true(isExists(await t.throwsAsync(commit(nft, [operation]))), operation.text());
  }
  await commit(nft, [ensureTable(table), ensureSet(at), ensureChain(target), ensureChain(base)]);
  const same = {key: key('10.1.0.5'), verdict: goto};
  t.true(isExists(await t.throwsAsync(commit(nft, [addElements(map4, [same])]))));
  await commit(nft, [ensureElements(map4, [{...same, comment: 'somebody else'}])]);
  t.is((await findElement(nft, map4, same.key))?.comment, "someone's, quoted");
  const other = {...same, verdict: {kind: 'accept'}} as const;
  for (const operation of [addElements(map4, [other]), ensureElements(map4, [other])]) {
    const error = await t.throwsAsync(commit(nft, [operation]));
    t.log(String(error));
    t.true(isBusy(error) || isExists(error));
  }
  await commit(nft, [deleteElements(map4, [same.key]), addElements(map4, [other])]);
  t.deepEqual((await findElement(nft, map4, same.key))?.verdict, {kind: 'accept'});
});

test('all of it can be deleted', async (t) => {
  const {nft, list} = await makeNftHost(t);
  await commit(nft, operations);
  t.true(isBusy(await t.throwsAsync(commit(nft, [deleteChain(target)]))));
  const rules = await listRules(nft, target);
  await commit(nft, [
    deleteRule(target, rules[0]!.handle),
    deleteElements(map4, [key('10.1.0.5'), key('10.1.0.6')]),
    deleteElements(map6, [key('fd00:1::5')]),
    deleteChain(target),
    flushChain(base),
    deleteChain(base),
    deleteSet(map4),
    deleteSet(map6),
    deleteTable(table),
    deleteTable(bridge),
  ]);
  t.deepEqual(await list(), []);
});

test('a transaction that is bound to a generation is refused when anything changed since', async (t) => {
  const {nft} = await makeNftHost(t);
  const generation = await getGeneration(nft);
  await commit(nft, [ensureTable(table)], {generation});
  const error = await t.throwsAsync(commit(nft, [deleteTable(table)], {generation}));
  t.is((error as {code?: string}).code, 'ERESTART');
  t.true(isRetryable(error));
  t.truthy(await findTable(nft, table));
});

test('reading and changing is repeated when somebody else changes something in between', async (t) => {
  const {nft, open} = await makeNftHost(t);
  const of = (last: number) => [{key: key(`10.1.0.${last}`), verdict: {kind: 'accept'}} as const];
  await commit(nft, [ensureTable(table), ensureSet(map4), addElements(map4, of(0))]);
  const other = open();
  let reads = 0;
  await transact(nft, async () => {
    reads++;
    const found = await listElements(nft, map4);
    if (reads < 4) await commit(other, [addElements(map4, of(reads))]);
    return found.map((element) => deleteElements(map4, [element.key]));
  });
  t.is(reads, 4);
  t.deepEqual(await listElements(nft, map4), []);
});
