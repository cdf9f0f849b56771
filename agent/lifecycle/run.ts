import type {Logger} from '../../lib/log.ts';
import type {ServiceManager} from './notify.ts';

/** What runs between the start and the end of the process. */
export interface Runnable {
  start(): Promise<void>;
  /** Reads the configuration again. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

export interface RunOptions {
  readonly service: Runnable;
  readonly manager: ServiceManager;
  readonly log: Logger;
  /** Resolves when the service shall end without a signal: somebody else has taken over. */
  readonly ended: Promise<string>;
}

/**
 * Starts the service and runs it until SIGTERM or SIGINT; SIGHUP reloads it. The service manager hears of every step. An error
 * that nobody caught ends the process at once with exit code 1: what was under way is in the kernel and on disk, as after
 * kill -9. Returns the exit code.
 */
export async function runService({service, manager, log, ended}: RunOptions): Promise<number> {
  const stop = Promise.withResolvers<string>();
  void ended.then(stop.resolve);
  const onSignal = (signal: NodeJS.Signals) => stop.resolve(signal);
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  process.on('SIGHUP', reload);
  process.on('uncaughtException', crash).on('unhandledRejection', crash);

  function reload(): void {
    const microseconds = process.hrtime.bigint() / 1000n;
    manager.notify('RELOADING=1', `MONOTONIC_USEC=${microseconds}`);
    void service
      .reload()
      .then(() => log.info('configuration read again'))
      .catch((error: unknown) => log.error({error}, 'the configuration was not read again'))
      .finally(() => manager.notify('READY=1'));
  }

  function crash(error: unknown): void {
    log.fatal({error}, 'the agent ends because of an error that nobody caught');
    process.exit(1);
  }

  await service.start();
  manager.notify('READY=1', `STATUS=serving, process ${process.pid}`);
  const watchdog = startWatchdog(manager);
  const reason = await stop.promise;
  clearInterval(watchdog);
  manager.notify('STOPPING=1');
  log.info({reason}, 'stopping');
  await service.stop();
  return 0;
}

/** Signs of life come from the event loop: one that does not turn gives none. */
function startWatchdog(manager: ServiceManager): NodeJS.Timeout | undefined {
  const {watchdogMs} = manager;
  if (watchdogMs === undefined) return undefined;
  return setInterval(() => manager.notify('WATCHDOG=1'), Math.max(1, watchdogMs / 2)).unref();
}
