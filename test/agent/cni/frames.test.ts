import test from 'ava';
import {FrameReader} from '../../../agent/cni/frames.ts';
import {formatFrame, ProtocolError} from '../../../agent/cni/protocol.ts';

const frames = [
  {type: 1, payload: Buffer.from('request')},
  {type: 3, payload: Buffer.alloc(0)},
  {type: 200, payload: Buffer.from('x'.repeat(100))},
];
const bytes = Buffer.concat(frames.map(({type, payload}) => formatFrame(type, payload)));

for (const size of [1, 2, 3, 7, 8, 9, 16, 50, bytes.length]) {
  test(`in pieces of ${size} bytes`, (t) => {
    const reader = new FrameReader(100);
    const read = [];
    for (let at = 0; at < bytes.length; at += size) read.push(...reader.push(bytes.subarray(at, at + size)));
    t.deepEqual(read, frames);
    t.is(reader.size, 0);
  });
}

test('a frame that is too large is refused by its header', (t) => {
  const reader = new FrameReader(99);
  t.throws(() => reader.push(bytes.subarray(-108, -100)), {
    instanceOf: ProtocolError,
    message: 'a frame of 100 bytes; 99 are allowed',
  });
});

test('bytes that wait for the rest of their frame are counted', (t) => {
  const reader = new FrameReader(100);
  reader.push(bytes.subarray(0, 20));
  t.is(reader.size, 20 - 15);
});
