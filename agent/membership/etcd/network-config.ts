import type {Logger} from '../../../lib/log.ts';
import {parseFlannelConfig, type FlannelConfig} from '../flannel-config.ts';

/** The network as the store describes it; what was good once stands until something better comes. */
export class NetworkConfig {
  readonly #key: string;
  readonly #log: Logger;
  #value: string | undefined;
  #parsed: FlannelConfig | undefined;
  #fault: string | undefined;

  constructor(key: string, log: Logger) {
    this.#key = key;
    this.#log = log;
  }

  get parsed(): FlannelConfig | undefined {
    return this.#parsed;
  }

  /** Why what is there now cannot be used. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Takes what the key holds; undefined where it is not there: a store may have lost its data. */
  read(value: string | undefined): void {
    if (value === undefined) {
      this.#value = undefined;
      const example = '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}';
      this.#fault =
        this.#parsed === undefined ? `${this.#key} is not there; put ${example} or the like` : undefined;
      return;
    }
    if (value === this.#value) return;
    this.#value = value;
    try {
      this.#parsed = parseFlannelConfig(value, this.#key);
      this.#fault = undefined;
    } catch (error) {
      this.#fault = (error as Error).message;
      this.#log.error({error}, 'network configuration cannot be used');
    }
  }
}
