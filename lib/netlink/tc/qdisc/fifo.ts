import {u32} from '../../codec.ts';
import {struct} from '../../struct.ts';

/** struct tc_fifo_qopt of linux/pkt_sched.h: how much may wait, in bytes (bfifo) or packets (pfifo). */
export const fifo = struct({limit: u32});
