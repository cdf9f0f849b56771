import test from 'ava';
import type {NamedContainer, ServiceDefinition, ServiceInstance} from '../../../agent/catalog/model.ts';
import {
  containerRecords,
  instanceRecords,
  keyOfAddress,
  keyOfName,
  serviceRecords,
} from '../../../agent/sharing/skydns.ts';

const path = '/skydns';
const options = {path, serviceDomain: 'weft.internal'};
const container: NamedContainer = {
  key: 'net1/abc123def456789:eth0',
  node: 'node-a',
  network: 'net1',
  containerId: 'abc123def456789',
  domain: 'net1.cluster.local',
  names: ['web', 'www'],
  ips: ['10.1.0.5', 'fd00::5'],
  ports: [{protocol: 'tcp', port: 8080}],
  texts: [],
  ttl: 0,
};

test('names are paths from the last label to the first', (t) => {
  t.is(keyOfName(path, 'web.net1.cluster.local'), '/skydns/local/cluster/net1/web');
  t.is(keyOfAddress(path, '10.1.0.5'), '/skydns/arpa/in-addr/10/1/0/5');
  t.is(keyOfAddress(path, 'fd00::5'), `/skydns/arpa/ip6/f/d/0/0${'/0'.repeat(27)}/5`);
  t.is(keyOfAddress(path, 'x'), undefined);
});

test('a container has a leaf below each name, an exact key for each address, and always a time to live', (t) => {
  t.deepEqual(
    [...containerRecords(container, options)],
    [
      ['/skydns/local/cluster/net1/web/abc123def456-4', '{"host":"10.1.0.5","port":8080,"ttl":1}'],
      ['/skydns/local/cluster/net1/web/abc123def456-6', '{"host":"fd00::5","port":8080,"ttl":1}'],
      ['/skydns/local/cluster/net1/www/abc123def456-4', '{"host":"10.1.0.5","port":8080,"ttl":1}'],
      ['/skydns/local/cluster/net1/www/abc123def456-6', '{"host":"fd00::5","port":8080,"ttl":1}'],
      ['/skydns/arpa/in-addr/10/1/0/5', '{"host":"web.net1.cluster.local","ttl":1}'],
      [`/skydns/arpa/ip6/f/d/0/0${'/0'.repeat(27)}/5`, '{"host":"web.net1.cluster.local","ttl":1}'],
    ],
  );
});

const instance: ServiceInstance = {
  key: 'default/shop-1@node-a',
  node: 'node-a',
  namespace: 'default',
  name: 'shop',
  id: 'shop-1',
  address: '10.1.0.5',
  port: 8080,
  protocol: 'tcp',
  tags: [],
  meta: {},
  weight: 100,
  health: 'passing',
  draining: false,
};
const definition: ServiceDefinition = {
  key: 'default/shop',
  namespace: 'default',
  name: 'shop',
  addresses: ['10.96.0.7'],
  ports: [{name: 'http', protocol: 'tcp', port: 80, targetPort: 8080}],
  policy: 'roundRobin',
  stickySeconds: 0,
  ttl: 5,
};

test('a service has its address, and its instances a subtree that never mixes with it', (t) => {
  const domain = 'weft.internal';
  t.deepEqual(
    [...serviceRecords(definition, {domain, path})],
    [
      [
        '/skydns/internal/weft/svc/default/shop/_tcp/_http/address4',
        '{"host":"10.96.0.7","port":80,"ttl":5}',
      ],
    ],
  );
  t.deepEqual(
    [...instanceRecords(instance, {definition, domain, path})],
    [
      [
        '/skydns/internal/weft/eps/default/shop/_tcp/_http/shop-1-node-a',
        '{"host":"10.1.0.5","port":8080,"weight":100,"ttl":5}',
      ],
    ],
  );
  t.deepEqual(
    [...instanceRecords(instance, {definition: undefined, domain, path}).keys()],
    ['/skydns/internal/weft/svc/default/shop/_tcp/_shop/shop-1-node-a'],
  );
  t.is(instanceRecords({...instance, health: 'critical'}, {definition, domain, path}).size, 0);
});

/** What CoreDNS's etcd plugin does with a question: the subtree below the name, or else the exact key. */
function lookUp(records: ReadonlyMap<string, string>, name: string): readonly string[] {
  const key = keyOfName(path, name);
  const below = [...records].filter(([each]) => each.startsWith(`${key}/`));
  const found = below.length > 0 ? below : [...records].filter(([each]) => each === key);
  return [...new Set(found.map(([, value]) => (JSON.parse(value) as {host: string}).host))];
}

test("CoreDNS's rules of looking up find what our own server answers", (t) => {
  const domain = 'weft.internal';
  const records = new Map([
    ...containerRecords(container, options),
    ...containerRecords({...container, containerId: 'other', names: ['web'], ips: ['10.1.0.6']}, options),
    ...serviceRecords(definition, {domain, path}),
    ...instanceRecords(instance, {definition, domain, path}),
  ]);
  t.deepEqual(lookUp(records, 'web.net1.cluster.local'), ['10.1.0.5', 'fd00::5', '10.1.0.6']);
  t.deepEqual(lookUp(records, '5.0.1.10.in-addr.arpa'), ['web.net1.cluster.local']);
  t.deepEqual(lookUp(records, 'shop.default.svc.weft.internal'), ['10.96.0.7']);
  t.deepEqual(lookUp(records, '_http._tcp.shop.default.svc.weft.internal'), ['10.96.0.7']);
  t.deepEqual(lookUp(records, 'shop.default.eps.weft.internal'), ['10.1.0.5']);
  t.deepEqual(lookUp(records, 'nobody.net1.cluster.local'), []);
});
