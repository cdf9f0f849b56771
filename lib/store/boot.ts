import {readFileSync} from 'node:fs';

let known: string | undefined;

/** The kernel's name for the time since the machine was started; "" where /proc does not tell. It is read once. */
export function readBootId(): string {
  try {
    return (known ??= readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim());
  } catch {
    return '';
  }
}

/**
 * A number of microseconds, below a second, that stands for this boot. Reservations carry it in their
 * modification time, where the Go plugin does not look: a clock that jumps cannot make such a
 * reservation look as if an earlier boot had left it.
 */
export function bootMarkOf(bootId: string): number {
  return Number.parseInt(bootId.replaceAll('-', '').slice(0, 12), 16) % 1_000_000 || 0;
}
