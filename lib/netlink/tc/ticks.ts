// net/pkt_sched.h: a tick is 64 ns, of whatever clock; /proc/net/psched says the same since Linux 2.6.31.
const ticksPerUsec = 1000 / 64;
const most = 0xffff_ffff;

/** The longest time that can be told in ticks, in microseconds: 274 s. */
export const longestUsec = Math.floor(most / ticksPerUsec);

/** Time as traffic control counts it; rounded down, cut at what 32 bits hold. */
export function ticksOf(usec: number): number {
  return Math.min(Math.floor(usec * ticksPerUsec), most);
}

export function usecOf(ticks: number): number {
  return ticks / ticksPerUsec;
}
