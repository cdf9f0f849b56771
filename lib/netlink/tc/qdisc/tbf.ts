import {attrs} from '../../attrs.ts';
import {bytes, u32, u64} from '../../codec.ts';
import {struct} from '../../struct.ts';
import {rateSpec} from '../common.ts';

/** linux/pkt_sched.h, enum TCA_TBF_*: a token bucket. */
export const tbf = attrs({
  // struct tc_tbf_qopt: `limit` in bytes that may wait, `buffer` in ticks that the bucket holds of its rate.
  parms: [1, struct({rate: rateSpec, peakRate: rateSpec, limit: u32, buffer: u32, mtu: u32})],
  // Tables that kernels before 3.8 computed with.
  rateTable: [2, bytes],
  peakRateTable: [3, bytes],
  rate64: [4, u64],
  peakRate64: [5, u64],
  burst: [6, u32],
  peakBurst: [7, u32],
});
