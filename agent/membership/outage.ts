import type {Logger} from '../../lib/log.ts';

export interface OutageOptions {
  /** How long it may last before it is worth telling. */
  readonly afterMs: number;
  readonly log: Logger;
  /** "etcd", "Kubernetes" */
  readonly source: string;
  readonly onChange: () => void;
}

/** Whether a source does not answer, why, and whether that has lasted: a short gap is nothing to talk about. */
export class Outage {
  readonly #options: OutageOptions;
  #current: {reason: string; isLong: boolean; readonly timer: NodeJS.Timeout} | undefined;

  constructor(options: OutageOptions) {
    this.#options = options;
  }

  /** Why there is no answer; undefined while there is one. */
  get reason(): string | undefined {
    return this.#current?.reason;
  }

  get isLong(): boolean {
    return this.#current?.isLong === true;
  }

  begin(error: Error): void {
    const {afterMs, log, source, onChange} = this.#options;
    const reason = error.message;
    if (this.#current !== undefined) {
      this.#current.reason = reason;
      return onChange();
    }
    log.warn({error}, `connection to ${source} is lost`);
    const timer = setTimeout(() => {
      if (this.#current !== undefined) this.#current.isLong = true;
      onChange();
    }, afterMs);
    this.#current = {reason, isLong: false, timer};
    onChange();
  }

  /** Whether there was one. */
  end(): boolean {
    const {log, source, onChange} = this.#options;
    const current = this.#current;
    if (current !== undefined) {
      clearTimeout(current.timer);
      this.#current = undefined;
      log.info(`connection to ${source} is there`);
    }
    onChange();
    return current !== undefined;
  }

  close(): void {
    clearTimeout(this.#current?.timer);
  }
}
