import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {Attachments, isEndOf, parseAttached} from '../../../agent/repair/attachments.ts';

const list = {
  cniVersion: '1.0.0',
  name: 'net',
  plugins: [
    {type: 'bridge', ipMasq: true},
    {type: 'portmap', capabilities: {portMappings: true}},
    {type: 'macvlan-of-others'},
  ],
};
const result = {
  cniVersion: '1.0.0',
  interfaces: [
    {name: 'cni0', mac: '02:00:00:00:00:01'},
    {name: 'veth01234567', mac: '02:00:00:00:00:02'},
    {name: 'eth0', mac: '02:00:00:00:00:03', sandbox: '/run/netns/a'},
  ],
  ips: [{address: '10.1.2.3/24', interface: 2}],
};

/** As libcni writes it. */
const note = (more: object = {}) =>
  JSON.stringify({
    kind: 'cniCacheV1',
    containerId: 'abc',
    config: Buffer.from(JSON.stringify(list)).toString('base64'),
    ifName: 'eth0',
    networkName: 'net',
    netns: '/run/netns/a',
    capabilityArgs: {portMappings: [{hostPort: 80, containerPort: 80}], bandwidth: {}},
    result,
    ...more,
  });

test("a runtime's note says what CHECK would tell each plugin", (t) => {
  const attached = parseAttached(note());
  t.deepEqual(attached?.owner, {network: 'net', containerId: 'abc', ifName: 'eth0'});
  t.deepEqual(
    attached?.plugins.map(({type}) => type),
    ['bridge', 'portmap', 'macvlan-of-others'],
  );
  t.like(attached?.plugins[1]?.conf, {
    name: 'net',
    cniVersion: '1.0.0',
    type: 'portmap',
    runtimeConfig: {portMappings: [{hostPort: 80, containerPort: 80}]},
    prevResult: {ips: [{address: '10.1.2.3/24'}]},
  });
  t.false('runtimeConfig' in (attached?.plugins[0]?.conf ?? {}));
});

test('of a network of one plugin the note has its configuration alone', (t) => {
  const config = {cniVersion: '0.4.0', name: 'net', type: 'bridge'};
  const text = note({
    config: Buffer.from(JSON.stringify(config)).toString('base64'),
    result: {...result, cniVersion: '0.4.0', ips: []},
  });
  t.deepEqual(
    parseAttached(text)?.plugins.map(({type}) => type),
    ['bridge'],
  );
});

test('what is no note is none', (t) => {
  for (const text of [
    '',
    '{}',
    '[]',
    'null',
    note({kind: 'other'}),
    note({containerId: 7}),
    note({result: 7}),
  ])
    t.is(parseAttached(text), undefined, text);
  t.throws(() => parseAttached(note({config: 'bm90IEpTT04='})));
});

test('an interface of an earlier or later ADD has another address', (t) => {
  const attached = parseAttached(note())!;
  t.true(isEndOf(attached, {name: 'veth01234567', mac: '02:00:00:00:00:02'}));
  t.false(isEndOf(attached, {name: 'veth01234567', mac: '02:00:00:00:00:09'}));
  t.false(isEndOf(attached, {name: 'veth76543210', mac: '02:00:00:00:00:02'}));
  const oldest = parseAttached(note({result: {cniVersion: '1.0.0', ips: []}}))!;
  t.true(isEndOf(oldest, {name: 'veth76543210', mac: '02:00:00:00:00:02'}));
});

test('the folder is read as it is now; what cannot be read hides nothing', (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), 'weft-repair-'));
  t.teardown(() => rmSync(folder, {recursive: true}));
  const unreadable: string[] = [];
  const attachments = new Attachments(folder, (file) => unreadable.push(path.basename(file)));
  t.deepEqual(attachments.list(), []);
  const results = path.join(folder, 'results');
  mkdirSync(results);
  writeFileSync(path.join(results, 'net-abc-eth0'), note());
  writeFileSync(path.join(results, 'net-bad-eth0'), note({config: 'bm90IEpTT04='}));
  const [first] = attachments.list();
  t.is(first?.owner.containerId, 'abc');
  // What has not changed is not read again.
  t.is(attachments.list()[0], first);
  t.deepEqual(unreadable, ['net-bad-eth0']);
  writeFileSync(path.join(results, 'net-abc-eth0'), note({containerId: 'def', netns: '/run/netns/other'}));
  t.is(attachments.list()[0]?.owner.containerId, 'def');
  rmSync(path.join(results, 'net-abc-eth0'));
  t.deepEqual(attachments.list(), []);
});
