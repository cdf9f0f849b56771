import test from 'ava';
import {isOwnTag, isStaleTag, isTagOfOther, ownerKey, ownerTag, shortHash} from '../../../lib/cni/owner.ts';

const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};

test('hashes are the reference’s', (t) => {
  t.is(shortHash('unit-test'), '6fd94d501e58f0aa');
  t.is(shortHash('eth0:one'), '287fc69eff0574a2');
});

test('a tag begins with the key and goes on with names', (t) => {
  t.is(ownerTag(owner, 128), `${ownerKey(owner)}, net: mynet, if: eth0, id: cid1`);
});

test('a tag that is too long is cut behind a whole character', (t) => {
  const long = {...owner, containerId: 'c'.repeat(300), ifName: 'ëëëëëëë'};
  for (let maxBytes = 60; maxBytes < 128; maxBytes++) {
    const tag = ownerTag(long, maxBytes);
    t.true(Buffer.byteLength(tag) <= maxBytes);
    t.true(isOwnTag(tag, long));
    t.notRegex(tag, /\ufffd/);
  }
});

test('a tag is stale when its network is ours and its attachment is not kept', (t) => {
  const tag = ownerTag(owner, 128);
  t.true(isStaleTag(tag, 'mynet', new Set()));
  t.false(isStaleTag(tag, 'mynet', new Set([ownerKey(owner)])));
  t.false(isStaleTag(tag, 'othernet', new Set()));
  t.false(isStaleTag('somebody else’s', 'mynet', new Set()));
  t.false(isStaleTag(undefined, 'mynet', new Set()));
});

test('a tag is of another container when container or interface differ, not when the network does', (t) => {
  const tag = ownerTag(owner, 128);
  t.false(isTagOfOther(tag, owner));
  t.false(isTagOfOther(tag, {...owner, network: 'renamed'}));
  t.true(isTagOfOther(tag, {...owner, containerId: 'cid2'}));
  t.true(isTagOfOther(tag, {...owner, ifName: 'eth1'}));
  t.false(isTagOfOther('somebody else’s', owner));
  t.false(isTagOfOther(undefined, owner));
});
