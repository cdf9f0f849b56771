import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import path from 'node:path';
import test from 'ava';
import {parseContainer, parseInstance, parseService} from '../../../agent/catalog/shapes.ts';
import {readRegistration} from '../../../agent/registry/kept.ts';
import {parseRegistration} from '../../../agent/registry/registration.ts';
import {readShared, sharingLayout} from '../../../agent/sharing/layout.ts';
import {readSnapshot} from '../../../agent/sharing/snapshot.ts';

const odd = [undefined, null, 1, 'x', [], {}, {key: ''}, {key: 'a'}, {key: 'a', names: 7}];
const container = {key: 'n/c:eth0', node: 'b', network: 'n', containerId: 'c', domain: 'n.test'};
const service = {key: 'default/shop', namespace: 'default', name: 'shop', addresses: ['10.96.0.7']};

test('what is none of ours is nothing', (t) => {
  for (const value of odd) {
    t.deepEqual(
      [parseContainer(value), parseInstance(value), parseService(value)],
      [undefined, undefined, undefined],
    );
    t.is(readRegistration(value), undefined);
  }
  t.is(parseService({...service, ports: [{port: 99_999}]}), undefined);
});

test('a key that an older release lacks has a default, one of a newer is passed over', (t) => {
  t.deepEqual(parseService({...service, more: 1}), {
    ...service,
    ports: [],
    policy: 'roundRobin',
    stickySeconds: 0,
    ttl: 0,
  });
  t.like(parseContainer(container), {names: [], ips: [], ttl: 0});
});

test('what was registered is read as it was written', (t) => {
  const registration = parseRegistration(
    {
      Name: 'shop',
      Address: '10.1.0.5',
      Port: 80,
      Meta: {a: 'b'},
      Checks: [
        {HTTP: 'http://10.1.0.5/', Interval: '5s', Header: {x: ['y']}},
        {TTL: '30s', Status: 'passing'},
      ],
    },
    {address: '127.0.0.1'},
  );
  t.deepEqual(readRegistration(JSON.parse(JSON.stringify(registration))), registration);
});

test('odd values in etcd and in the snapshot are passed over', (t) => {
  const layout = sharingLayout('/weft/v1');
  const entries = [
    ['/weft/v1/containers/b/x', 'no JSON'],
    ['/weft/v1/containers/b/y', '{"key": "y"}'],
    ['/weft/v1/containers/b/z', JSON.stringify(container)],
    ['/weft/v1/services/default/other', '{"key": "default/other", "ports": {}}'],
    ['/weft/v1/services/default/shop', JSON.stringify(service)],
    ['/weft/v1/services/default/own', JSON.stringify({...service, key: 'default/own', definedBy: 'a'})],
    ['/weft/v1/instances/a/own', '{}'],
  ] as const;
  const found = readShared(entries, layout, 'a');
  t.deepEqual(
    [found.containers, found.instances, found.services].map((list) => list.map(({key}) => key)),
    [['n/c:eth0'], [], ['default/shop']],
  );
  const dir = mkdtempSync(path.join(tmpdir(), 'weft-snapshot-'));
  t.teardown(() => rmSync(dir, {recursive: true}));
  const file = path.join(dir, 'catalog.json');
  writeFileSync(file, JSON.stringify({containers: {}, services: [1, service], instances: null}));
  t.is(readSnapshot(file)?.services.length, 1);
  writeFileSync(file, 'null');
  t.is(readSnapshot(file), undefined);
});
