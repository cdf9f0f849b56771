import {largestRate} from '../../lib/netlink/tc/common.ts';
import {longestUsec, ticksOf} from '../../lib/netlink/tc/ticks.ts';

/** A limit as configurations say it. */
export interface Limit {
  readonly rateBitsPerSecond: number;
  readonly burstBits: number;
}

/** A limit as the kernel is told it. */
export interface Shape {
  readonly rateBytesPerSecond: number;
  readonly burstBytes: number;
  /** Bytes that may wait; what comes then is dropped. */
  readonly limitBytes: number;
  /** The burst as time at this rate, in ticks (lib/netlink/tc/ticks.ts). */
  readonly bufferTicks: number;
}

// How long a packet may wait, beside what the burst lets through at once.
const latencyUsec = 25_000;
const usecPerSecond = 1_000_000;
const most32 = 0xffff_ffff;

/** The reference's numbers, wherever they are usable: so its CHECK agrees with ours. */
export function planShape({rateBitsPerSecond, burstBits}: Limit): Shape {
  const rateBytesPerSecond = Math.floor(rateBitsPerSecond / 8);
  const burstBytes = Math.floor(burstBits / 8);
  const waiting = Math.floor((rateBytesPerSecond * latencyUsec) / usecPerSecond);
  return {
    rateBytesPerSecond,
    burstBytes,
    limitBytes: Math.min(waiting + burstBytes, most32),
    bufferTicks: planBuffer(rateBytesPerSecond, burstBytes),
  };
}

/**
 * A burst that takes longer than ticks can tell (274 s) is common: kubelets ask for "no limit", 512 MB. The reference's
 * number then wraps around, to any value. It is kept as long as it is a second or more, else it is the largest there is: a
 * short burst would hold every packet back.
 */
function planBuffer(rateBytesPerSecond: number, burstBytes: number): number {
  const usec = Math.floor((burstBytes * usecPerSecond) / rateBytesPerSecond);
  if (usec <= longestUsec) return ticksOf(usec);
  const wrapped = wrappedTicks(usec);
  return wrapped >= ticksOf(usecPerSecond) ? wrapped : most32;
}

function wrappedTicks(usec: number): number {
  return Math.floor((usec % 2 ** 32) * (1000 / 64)) % 2 ** 32;
}

/** Whether the reference may have made this of the same burst: its number depends on the processor, once it is too large. */
export function isBufferOf({rateBytesPerSecond, burstBytes, bufferTicks}: Shape, found: number): boolean {
  if (found === bufferTicks) return true;
  const usec = Math.floor((burstBytes * usecPerSecond) / rateBytesPerSecond);
  return usec > longestUsec && (found === most32 || found === wrappedTicks(usec));
}

/** The fields of struct tc_ratespec and the attribute beside it for rates that it cannot hold. */
export function rateFields({rateBytesPerSecond}: Shape) {
  const is64 = rateBytesPerSecond > largestRate;
  return {
    rate: {
      cellLog: 0,
      linkLayer: 0,
      overhead: 0,
      cellAlign: 0,
      mpu: 0,
      rate: Math.min(rateBytesPerSecond, largestRate),
    },
    rate64: is64 ? BigInt(rateBytesPerSecond) : undefined,
  };
}
