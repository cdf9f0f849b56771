import {sendToUnixSocket} from '../../lib/netns/native.ts';

/** The service manager, if one started us: sd_notify(3). */
export interface ServiceManager {
  /** Says `READY=1` and the like; to nobody if there is nobody. Never throws. */
  notify(...lines: readonly string[]): void;
  /** How often it wants a sign of life; undefined if it wants none. */
  readonly watchdogMs: number | undefined;
}

/** Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. */
export function findServiceManager(
  env: Readonly<Record<string, string | undefined>>,
  {
    pid = process.pid,
    send = sendToUnixSocket,
  }: {readonly pid?: number; readonly send?: typeof sendToUnixSocket} = {},
): ServiceManager {
  const {NOTIFY_SOCKET: socket = '', WATCHDOG_USEC: interval, WATCHDOG_PID: watched} = env;
  // A path, or with an at sign a name in the kernel's own space; other kinds (vsock:) are not for services.
  const isKnown = /^[/@]./s.test(socket);
  const isMine = watched === undefined || watched === '' || Number(watched) === pid;
  const watchdogMs = isMine ? Math.floor(Number(interval ?? 0) / 1000) : 0;
  return {
    watchdogMs: isKnown && watchdogMs > 0 ? watchdogMs : undefined,
    notify(...lines) {
      if (!isKnown) return;
      try {
        send(socket, lines.join('\n'));
      } catch {
        // A manager that does not listen any more is no reason to stop.
      }
    },
  };
}
