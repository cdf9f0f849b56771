import {mkdtempSync, readdirSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {Catalog} from '../../../agent/catalog/catalog.ts';
import {Registry} from '../../../agent/registry/registry.ts';
import {parseCidr} from '../../../lib/ip/cidr.ts';
import {openLog} from '../../../lib/log.ts';

/** A host with services of its own, on a range of six addresses. */
function makeHost(t: ExecutionContext, node: string) {
  const dir = mkdtempSync(join(tmpdir(), 'weft-registry-'));
  t.teardown(() => rmSync(dir, {recursive: true}));
  const catalog = new Catalog();
  const registry = new Registry({
    node,
    catalog,
    log: openLog({level: 'silent'}),
    dir: join(dir, 'kept'),
    stateDir: join(dir, 'state'),
    ranges: [parseCidr('10.96.0.0/29')!],
  });
  registry.start({reapMs: 3_600_000});
  t.teardown(() => registry.stop());
  const expose = (name: string, more: object = {}) =>
    registry.define('default', name, {ports: [{port: 80}], ...more});
  const at = () =>
    Object.fromEntries(catalog.services.list().map(({name, addresses}) => [name, addresses[0]]));
  return {dir, catalog, registry, expose, at};
}

type Host = ReturnType<typeof makeHost>;

/** Each hears of the other's services, as through etcd. */
async function share(hosts: readonly [Host, Host]): Promise<void> {
  for (let round = 0; round < 4; round++) {
    const [a, b] = hosts;
    const said = [a.catalog.services.list('local'), b.catalog.services.list('local')] as const;
    a.catalog.services.replace('remote', said[1]);
    b.catalog.services.replace('remote', said[0]);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Two names that are led to the same address where neither knows of the other. */
function findRivals(t: ExecutionContext): readonly [string, string] {
  const seen = new Map<string, string>();
  for (let i = 0; ; i++) {
    const name = `shop-${i}`;
    const {addresses} = makeHost(t, 'probe').expose(name);
    const other = seen.get(addresses[0]!);
    if (other !== undefined) return [other, name];
    seen.set(addresses[0]!, name);
  }
}

test('two hosts give two services one address while they are apart: the later gets another, everywhere', async (t) => {
  const [first, second] = findRivals(t);
  const [a, b] = [makeHost(t, 'a'), makeHost(t, 'b')];
  const one = a.expose(first);
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.deepEqual(b.expose(second).addresses, one.addresses);
  await share([a, b]);
  t.is(a.at()[first], one.addresses[0]);
  t.not(a.at()[second], one.addresses[0]);
  t.deepEqual(a.at(), b.at());
});

test('an address that was asked for by hand is not changed', async (t) => {
  const [a, b] = [makeHost(t, 'a'), makeHost(t, 'b')];
  a.expose('one', {address: '10.96.0.3'});
  await new Promise((resolve) => setTimeout(resolve, 5));
  b.expose('two', {address: '10.96.0.3'});
  await share([a, b]);
  t.deepEqual(b.at(), {one: '10.96.0.3', two: '10.96.0.3'});
  t.throws(() => b.expose('three', {address: '10.96.0.3'}), {message: /belongs to another service/});
});

test('a service that another host took over does not come back with the next agent', async (t) => {
  const [a, b] = [makeHost(t, 'a'), makeHost(t, 'b')];
  a.expose('shop');
  await share([a, b]);
  const taken = b.expose('shop', {policy: 'random'});
  a.catalog.services.replace('remote', [taken]);
  // What the module `sharing` does when it sees a newer word.
  a.catalog.services.remove('local', 'default/shop');
  await new Promise((resolve) => setImmediate(resolve));
  t.deepEqual(readdirSync(join(a.dir, 'kept/services')), []);
  t.like(a.catalog.services.list()[0], {policy: 'random'});
});
