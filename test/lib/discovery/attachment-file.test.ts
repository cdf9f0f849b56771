import {mkdtempSync, readdirSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {
  discoveryDirectory,
  findDiscovered,
  listDiscovered,
  removeDiscovered,
  removeStaleDiscovered,
  writeDiscovered,
  type DiscoveredAttachment,
} from '../../../lib/discovery/attachment-file.ts';

function makeDirectory(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'weft-discovery-'));
  t.teardown(() => rmSync(directory, {recursive: true}));
  return directory;
}

const attachment = (network: string, containerId: string): DiscoveredAttachment => ({
  network,
  containerId,
  ifName: 'eth0',
  names: ['web'],
  domain: 'net1.test',
  ips: ['10.1.0.2'],
  listen: ['10.1.0.1'],
  internal: false,
  intercept: false,
  upstreams: [],
  ports: [],
  texts: [],
  ttl: 0,
});

test('an attachment is found by its owner, whatever it is called', (t) => {
  const dir = makeDirectory(t);
  for (const network of ['net1', '../up', 'a/b', '..', '%2E']) {
    const written = attachment(network, 'id:1/x');
    const path = writeDiscovered(dir, written);
    t.true(path.startsWith(`${dir}/`), path);
    t.deepEqual(findDiscovered(dir, written), written);
  }
  t.is(readdirSync(dir).length, 5);
  t.true(removeDiscovered(dir, attachment('..', 'id:1/x')));
  t.false(removeDiscovered(dir, attachment('..', 'id:1/x')));
  t.false(removeDiscovered(join(dir, 'none'), attachment('net1', 'a')));
});

test('files that are none are passed over, and keys of newer releases', (t) => {
  const dir = makeDirectory(t);
  const path = writeDiscovered(dir, attachment('net1', 'a'));
  writeFileSync(path, JSON.stringify({...attachment('net1', 'a'), later: 1}));
  t.like(findDiscovered(dir, attachment('net1', 'a')), {names: ['web']});
  writeFileSync(path, '{"network": ');
  t.is(findDiscovered(dir, attachment('net1', 'a')), undefined);
});

test('those that are not to be kept are removed, and what a kill left', (t) => {
  const dir = makeDirectory(t);
  const [kept] = ['a', 'b'].map((id) => writeDiscovered(dir, attachment('net1', id)));
  writeDiscovered(dir, attachment('net2', 'b'));
  const directory = discoveryDirectory(dir, 'net1');
  writeFileSync(join(directory, '.c:eth0.json'), '');
  t.is(removeStaleDiscovered(dir, 'net1', [{containerId: 'a', ifName: 'eth0'}]).length, 2);
  t.deepEqual(readdirSync(directory), ['a:eth0.json']);
  t.deepEqual(listDiscovered(directory), [kept]);
  t.deepEqual(removeStaleDiscovered(dir, 'none', []), []);
  t.is(listDiscovered(discoveryDirectory(dir, 'net2')).length, 1);
});
