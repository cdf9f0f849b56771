import test from 'ava';
import {isOwnTag, isStaleTag, ownerKey} from '../../../lib/cni/owner.ts';
import {countOf, ownerHash, parsePortmapTag, portmapTag} from '../../../plugins/portmap/tag.ts';

const owner = {network: 'mynet', containerId: 'c'.repeat(64), ifName: 'eth0'};

test('a tag can be read back; a long id is cut', (t) => {
  const tag = portmapTag(owner, 'veth01234567');
  t.is(tag.length, 128);
  t.true(isOwnTag(tag, owner));
  t.true(isStaleTag(tag, 'mynet', new Set()));
  t.false(isStaleTag(tag, 'mynet', new Set([ownerKey(owner)])));
  t.like(parsePortmapTag(tag), {device: 'veth01234567', network: 'mynet', ifName: 'eth0'});
  t.regex(parsePortmapTag(tag)!.containerId, /^c{40,}$/);
  t.is(parsePortmapTag(portmapTag(owner, undefined))?.device, undefined);
});

test('the tag that speaks for all counts them', (t) => {
  t.is(countOf(portmapTag(owner, 'veth0', {ports: 12})), 12);
  t.is(countOf(portmapTag(owner, 'veth0')), undefined);
});

test('what others wrote is no tag', (t) => {
  for (const text of ['', 'mine', '0123456789abcdef-0123456789abcdef, 7'])
    t.is(parsePortmapTag(text), undefined);
});

test('a network with a long name leaves room for nothing else', (t) => {
  const tag = portmapTag({...owner, network: 'n'.repeat(200)}, 'veth01234567');
  t.like(parsePortmapTag(tag), {device: 'veth01234567', containerId: ''});
});

test('owners have keys of their own', (t) => {
  t.is(ownerHash(owner).length, 8);
  t.notDeepEqual(ownerHash(owner), ownerHash({...owner, ifName: 'eth1'}));
});
