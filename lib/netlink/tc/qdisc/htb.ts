import {attrs} from '../../attrs.ts';
import {bytes, flag, u32, u64} from '../../codec.ts';
import {struct} from '../../struct.ts';
import {rateSpec} from '../common.ts';

/** The one version of struct tc_htb_glob that kernels take. */
export const htbVersion = 3;

/** linux/pkt_sched.h, enum TCA_HTB_*: token buckets in a hierarchy. `init` is the qdisc's, the rest is a class's. */
export const htb = attrs({
  // struct tc_htb_opt: `buffer` and `ceilBuffer` in ticks; `quantum` in bytes.
  parms: [
    1,
    struct({
      rate: rateSpec,
      ceil: rateSpec,
      buffer: u32,
      ceilBuffer: u32,
      quantum: u32,
      level: u32,
      priority: u32,
    }),
  ],
  // struct tc_htb_glob: packets that no filter knows go to class `defaultClass`, or past all classes if there is none.
  init: [2, struct({version: u32, rateToQuantum: u32, defaultClass: u32, debug: u32, directPackets: u32})],
  ceilTable: [3, bytes],
  rateTable: [4, bytes],
  directQueueLength: [5, u32],
  rate64: [6, u64],
  ceil64: [7, u64],
  offload: [9, flag],
});
