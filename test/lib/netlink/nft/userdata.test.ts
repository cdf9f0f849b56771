import test from 'ava';
import {Writer} from '../../../../lib/netlink/writer.ts';
import {formatComment, userData} from '../../../../lib/netlink/nft/userdata.ts';

const put = (value: Parameters<ReturnType<typeof userData>['put']>[1], type = 0) => {
  const w = new Writer();
  userData(type).put(w, value);
  return Buffer.from(w.bytes());
};

test('a comment is an entry of type, length and text with a zero byte', (t) => {
  // libnftnl, from a capture of: add element … comment "owner"
  const bytes = Buffer.from('00066f776e657200', 'hex');
  t.deepEqual(put({comment: 'owner'}), bytes);
  t.is(userData(0).get(bytes, 0, bytes.length).comment, 'owner');
});

test('a comment is cut to what nft takes, and never inside a character', (t) => {
  const text = (comment: string) => formatComment(comment).slice(' comment "'.length, -1);
  t.is(text('a'.repeat(200)), 'a'.repeat(128));
  t.is(text(`${'a'.repeat(127)}ä`), 'a'.repeat(127));
  t.is(text(`${'a'.repeat(125)}😀`), 'a'.repeat(125));
  t.is(text('quo"te\\, line\nand\u0007 bell'), 'quote, lineand bell');
});

test('other entries are kept, and a cut-off one does no harm', (t) => {
  const entries = [[5, Buffer.from('0102', 'hex')]] as const;
  const bytes = put({comment: 'x', entries}, 7);
  t.deepEqual(userData(7).get(bytes, 0, bytes.length), {
    comment: 'x',
    entries: [[5, Buffer.from('0102', 'hex')]],
  });
  t.notThrows(() => userData(7).get(bytes, 0, 3));
  t.deepEqual(userData(7).get(bytes, 0, 0), {entries: []});
});
