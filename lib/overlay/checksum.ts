import {release} from 'node:os';
import {setTransmitChecksum} from '../netns/native.ts';

/**
 * Kernels before 5.7 spoil the outer UDP checksum of a tunnelled packet that is masqueraded as well: the first packets of a
 * connection are lost, and it begins 1, 3 or 63 seconds late.
 */
export function hasBrokenChecksums(kernel: string = release()): boolean {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(kernel) ?? [];
  return Number(major) < 5 || (Number(major) === 5 && Number(minor) < 7);
}

/**
 * Has the device compute inner checksums itself where the kernel needs that, which costs throughput; `always` and `never`
 * say otherwise. Tells whether it changed anything. Synchronous, for the namespace the thread is in.
 */
export function ensureChecksums(
  device: string,
  {workaround = 'auto'}: {readonly workaround?: 'auto' | 'always' | 'never'} = {},
): boolean {
  if (workaround === 'never' || (workaround === 'auto' && !hasBrokenChecksums())) return false;
  return setTransmitChecksum(device, {offload: false});
}
