import test from 'ava';
import {Catalog} from '../../../agent/catalog/catalog.ts';
import type {ServiceDefinition, ServiceInstance} from '../../../agent/catalog/model.ts';
import {feedTable} from '../../../agent/names/catalog-feed.ts';
import {NameTable} from '../../../agent/names/table.ts';

const instance = (id: string, more: Partial<ServiceInstance> = {}): ServiceInstance => ({
  key: `default/${id}@node-a`,
  node: 'node-a',
  namespace: 'default',
  name: 'shop',
  id,
  network: 'net1',
  address: '10.1.0.5',
  port: 8080,
  protocol: 'tcp',
  tags: [],
  meta: {},
  weight: 1,
  health: 'passing',
  draining: false,
  ...more,
});

const definition: ServiceDefinition = {
  key: 'default/shop',
  namespace: 'default',
  name: 'shop',
  network: 'net1',
  addresses: ['10.96.0.7'],
  ports: [{name: 'http', protocol: 'tcp', port: 80, targetPort: 8080}],
  policy: 'roundRobin',
  stickySeconds: 0,
  ttl: 5,
};

const settle = () => new Promise((resolve) => setImmediate(resolve));

test('a service without address leads to its instances, one with an address to that', async (t) => {
  const catalog = new Catalog();
  const table = new NameTable();
  feedTable(table, catalog);
  const ips = (name: string, network = 'net1') =>
    table.listByName(network, name).flatMap((entry) => entry.ips.map(String));
  catalog.instances.put('local', instance('a'));
  catalog.instances.put('remote', instance('b', {address: '10.1.1.5'}));
  await settle();
  for (const name of ['shop', 'shop.default', 'shop.default.svc', 'shop.service']) {
    t.deepEqual(ips(name), ['10.1.0.5', '10.1.1.5'], name);
  }
  catalog.services.put('local', definition);
  await settle();
  t.deepEqual(ips('shop'), ['10.96.0.7']);
  t.deepEqual(ips('shop.default.eps'), ['10.1.0.5', '10.1.1.5']);
  t.deepEqual(ips('b.shop.default.eps'), ['10.1.1.5']);
  t.deepEqual(table.listByName('net1', 'shop')[0]?.ports, [{name: 'http', protocol: 'tcp', port: 80}]);
  catalog.services.remove('local', 'default/shop');
  catalog.instances.remove('remote', 'default/b@node-a');
  await settle();
  t.deepEqual(ips('shop'), ['10.1.0.5']);
  t.deepEqual(ips('shop.default.eps'), []);
});

test('the sick, the draining and those of weight 0 are no answers', async (t) => {
  const catalog = new Catalog();
  const table = new NameTable();
  const end = feedTable(table, catalog);
  const isCritical = () => table.listByName('net1', 'shop').map((entry) => entry.isCritical);
  for (const [more, expected] of [
    [{health: 'warning'}, false],
    [{health: 'critical'}, true],
    [{draining: true}, true],
    [{weight: 0}, true],
  ] as const) {
    catalog.instances.put('local', instance('a', more));
    await settle();
    t.deepEqual(isCritical(), [expected], JSON.stringify(more));
  }
  end();
  catalog.instances.remove('local', 'default/a@node-a');
  await settle();
  t.is(isCritical().length, 1);
});

test('what belongs to no network is seen by all, another namespace is named', async (t) => {
  const catalog = new Catalog();
  const table = new NameTable();
  feedTable(table, catalog);
  catalog.instances.put('local', instance('a', {namespace: 'team', network: undefined}));
  await settle();
  t.is(table.listByName('', 'shop.team').length, 1);
  t.is(table.listByName('', 'shop').length, 0);
});
