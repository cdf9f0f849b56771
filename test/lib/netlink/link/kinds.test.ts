import test from 'ava';
import {Writer} from '../../../../lib/netlink/writer.ts';
import {kinds, linkInfo, type KnownLinkInfo} from '../../../../lib/netlink/link/kinds.ts';
import {linkMessage} from '../../../../lib/netlink/route/link.ts';
import {sentBy, withoutNestedFlags} from '../../../helpers/captures.ts';
import {samples} from '../../../helpers/link-kinds.ts';

const headerBytes = 16;

for (const [kind, {command, info}] of Object.entries(samples)) {
  test(`${kind}: reads what ip sends`, (t) => {
    const {body} = sentBy(command);
    const {attributes} = linkMessage.get(body, 0, body.length);
    t.deepEqual(attributes.linkInfo?.info, {data: undefined, ...info});
  });

  test(`${kind}: writes what ip sends, byte for byte`, (t) => {
    const {body} = sentBy(command);
    const w = new Writer();
    linkMessage.put(w, linkMessage.get(body, 0, body.length));
    t.is(
      withoutNestedFlags(w.bytes(), headerBytes).toString('hex'),
      withoutNestedFlags(body, headerBytes).toString('hex'),
    );
  });
}

// The third column, the kernel, is integration/netlink-link.test.ts: it makes every sample.
test('every kind is tried in both directions', (t) => {
  t.deepEqual(Object.keys(samples).sort(), Object.keys(kinds).sort());
  t.is(new Set(Object.values(samples).map((sample) => sample.command)).size, Object.keys(kinds).length);
});

test('a kind without a table keeps its name and its data', (t) => {
  const bytes = Buffer.from('0d0001006d61637663616e0000000000080002800400010000000000', 'hex').subarray(
    0,
    24,
  );
  const read = linkInfo.get(bytes, 0, bytes.length);
  t.deepEqual(read.info, {kind: 'other', name: 'macvcan', raw: Buffer.from('04000100', 'hex')});
  const w = new Writer();
  linkInfo.put(w, read);
  t.deepEqual(linkInfo.get(w.bytes(), 0, w.offset).info, read.info);
});

test('data that comes before its kind is read all the same', (t) => {
  // IFLA_INFO_DATA {IFLA_VLAN_ID 7}, then IFLA_INFO_KIND "vlan"
  const bytes = Buffer.from('0c0002000600010007000000' + '09000100766c616e00000000', 'hex');
  t.deepEqual(linkInfo.get(bytes, 0, bytes.length).info, {kind: 'vlan', data: {id: 7}});
});

test('a bridge has no peer', (t) => {
  // @ts-expect-error the type of the data follows the kind
  const info: KnownLinkInfo = {kind: 'bridge', data: {peer: {name: 'x'}}};
  t.is(info.kind, 'bridge');
});
