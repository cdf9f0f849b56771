import test from 'ava';
import {FrameReader} from '../../../agent/cni/frames.ts';
import {
  formatFrame,
  frameTypes,
  largestRequest,
  parseRequest,
  ProtocolError,
} from '../../../agent/cni/protocol.ts';
import {chooseSeed, makeRandom, type Random} from '../../../integration/harness/random.ts';

// What comes in on the agent's socket, changed in any way: it is read as it is meant, or refused.

const seed = chooseSeed();
const cases = 100_000;

const oddNumbers = [0, 1, 7, 8, 63, 64, 65, 255, 256, 4096, 1 << 20, (1 << 20) + 1, 0x7fff_ffff, 0xffff_ffff];

function number(random: Random, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(random.oneIn(60) ? random.pick(oddNumbers) : value);
  return bytes;
}

/** A request that is right but for what the dice say. */
function makeRequest(random: Random): Buffer {
  const fixed = Buffer.alloc(64);
  fixed.writeUInt16LE(random.oneIn(50) ? random.below(65_536) : 1, 0);
  for (let at = 2; at < 64; at++) fixed[at] = random.below(256);
  const texts = [
    '# weft 0.1.0 0123456789abcdef\n',
    'bridge',
    '/',
    ['CNI_COMMAND=ADD', 'A=', '=B', 'C', '__proto__=x', 'A=2', '\u00e4=\u00f6', '']
      .filter(() => random.below(2) === 0)
      .join('\0'),
    '{"name":"n"}',
  ];
  const blobs = texts.flatMap((text) => {
    const bytes = Buffer.from(random.oneIn(20) ? '' : text);
    return [number(random, bytes.length), bytes];
  });
  const payload = Buffer.concat([fixed, ...blobs]);
  const frame = formatFrame(frameTypes.request, payload);
  if (random.oneIn(20)) number(random, random.below(300)).copy(frame);
  for (let flips = random.oneIn(3) ? random.below(5) : 0; flips > 0; flips--)
    frame[random.below(frame.length)]! ^= 1 << random.below(8);
  return random.oneIn(10) ? frame.subarray(0, random.below(frame.length)) : frame;
}

test('100,000 requests are read or refused, in whatever pieces they come', (t) => {
  t.timeout(120_000);
  t.log(`seed ${seed}: WEFT_FUZZ_SEED=${seed} repeats it`);
  const outcomes = {read: 0, refused: 0, waiting: 0};
  for (let index = 0; index < cases; index++) {
    const random = makeRandom(seed + index);
    const bytes = makeRequest(random);
    const reader = new FrameReader(largestRequest);
    const problem = (what: string) => `case ${index}: ${what}\n${bytes.toString('hex')}`;
    let requests = 0;
    try {
      for (let at = 0; at < bytes.length;) {
        const end = Math.min(bytes.length, at + 1 + random.below(random.oneIn(4) ? 20 : 4000));
        for (const {type, payload} of reader.push(bytes.subarray(at, end))) {
          if (type !== frameTypes.request) throw new ProtocolError('another type');
          const {env, stdin, netns} = parseRequest(payload);
          if (Object.getPrototypeOf(env) !== Object.prototype) t.fail(problem('a prototype was changed'));
          if (stdin.length > payload.length || (netns && netns.fd < 0)) t.fail(problem('out of nothing'));
          requests++;
        }
        at = end;
      }
      outcomes[requests > 0 ? 'read' : 'waiting']++;
    } catch (error) {
      if (!(error instanceof ProtocolError)) t.fail(problem(String(error)));
      outcomes.refused++;
    }
    if (reader.size > bytes.length) t.fail(problem('more is kept than came'));
  }
  t.log(outcomes);
  for (const count of Object.values(outcomes)) t.true(count > cases / 50, 'every outcome must be seen');
});
