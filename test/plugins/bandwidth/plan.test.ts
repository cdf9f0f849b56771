import test from 'ava';
import {isBufferOf, planShape, rateFields} from '../../../plugins/bandwidth/plan.ts';

// integration/bandwidth-swap.test.ts has the reference plugin compare such numbers with its own.
const known = [
  {rate: 40_000_000, burst: 4_000_000, bytes: 5_000_000, limit: 625_000, buffer: 1_562_500},
  {rate: 8000, burst: 16_000, bytes: 1000, limit: 2025, buffer: 31_250_000},
  // Microseconds are cut before they become ticks: 6790 bytes are 43,999.5 µs.
  {rate: 1_234_567, burst: 54_321, bytes: 154_320, limit: 10_648, buffer: 687_484},
] as const;

for (const {rate, burst, bytes, limit, buffer} of known)
  test(`${rate} bit/s with a burst of ${burst} bits`, (t) => {
    const shape = planShape({rateBitsPerSecond: rate, burstBits: burst});
    t.is(shape.rateBytesPerSecond, bytes);
    t.is(shape.limitBytes, limit);
    t.is(shape.bufferTicks, buffer);
  });

const noLimit = 4_294_967_295;

test("a burst that ticks cannot tell is the reference's number as long as that is of use", (t) => {
  const shape = planShape({rateBitsPerSecond: 10_000_000, burstBits: noLimit});
  t.is(shape.bufferTicks, Math.floor(429_496_728 * 15.625) % 2 ** 32);
  t.true(isBufferOf(shape, shape.bufferTicks));
  t.true(isBufferOf(shape, 0xffff_ffff), 'what processors that do not wrap around make of it');
  t.false(isBufferOf(shape, 0xffff_fffe));
});

test('one that would hold every packet back is as long as can be told', (t) => {
  // 976,562 bytes/s: the reference's buffer is 280 µs, shorter than any packet.
  const shape = planShape({rateBitsPerSecond: 7_812_496, burstBits: noLimit});
  t.is(shape.bufferTicks, 0xffff_ffff);
  t.true(isBufferOf(shape, 4376), "the reference's is still taken for what was asked");
});

test('a queue is at most as long as can be told', (t) => {
  const shape = planShape({rateBitsPerSecond: 80_000_000_000, burstBits: 0xffff_fffe * 8});
  t.is(shape.limitBytes, 0xffff_ffff);
});

test('a rate beyond 32 bits of bytes per second has an attribute of its own', (t) => {
  const rateOf = (rateBitsPerSecond: number) => {
    const {rate, rate64} = rateFields(planShape({rateBitsPerSecond, burstBits: 8_000_000}));
    return [rate.rate, rate64];
  };
  t.deepEqual(rateOf(0xffff_ffff * 8), [0xffff_ffff, undefined]);
  t.deepEqual(rateOf(2 ** 35), [0xffff_ffff, 2n ** 32n]);
});
