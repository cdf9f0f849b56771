import {formatIp, type Ip} from '../../lib/ip/address.ts';
import type {NameEntry, NamedNetwork} from './entry.ts';

/**
 * Everybody that has names, found by name, by address and by source address. A change costs what it changes, a look-up
 * the same however many there are.
 */
export class NameTable {
  readonly #entries = new Map<string, NameEntry>();
  readonly #networks = new Map<string, NamedNetwork>();
  /** By network, then by name. */
  readonly #byName = new Map<string, Map<string, Map<string, NameEntry>>>();
  readonly #byIp = new Map<string, Map<string, NameEntry>>();
  readonly #byContainer = new Map<string, Map<string, NameEntry>>();
  #serial = 1;

  /** Counts changes: the serial number of our zones. */
  get serial(): number {
    return this.#serial;
  }

  get size(): number {
    return this.#entries.size;
  }

  putNetwork(network: NamedNetwork): void {
    this.#networks.set(network.name, network);
    this.#serial++;
  }

  removeNetwork(name: string): void {
    if (this.#networks.delete(name)) this.#serial++;
  }

  findNetwork(name: string): NamedNetwork | undefined {
    return this.#networks.get(name);
  }

  listNetworks(): readonly NamedNetwork[] {
    return [...this.#networks.values()];
  }

  /** Adds an entry, in place of the one of the same key. */
  put(entry: NameEntry): void {
    this.remove(entry.key);
    this.#entries.set(entry.key, entry);
    const names = getOrMake(this.#byName, entry.network, () => new Map<string, Map<string, NameEntry>>());
    for (const name of entry.names) getOrMake(names, name, makeEntries).set(entry.key, entry);
    for (const ip of entry.ips) getOrMake(this.#byIp, formatIp(ip), makeEntries).set(entry.key, entry);
    if (entry.containerId !== undefined) {
      getOrMake(this.#byContainer, entry.containerId, makeEntries).set(entry.key, entry);
    }
    this.#serial++;
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    const names = this.#byName.get(entry.network);
    for (const name of entry.names) dropFrom(names, name, key);
    if (names?.size === 0) this.#byName.delete(entry.network);
    for (const ip of entry.ips) dropFrom(this.#byIp, formatIp(ip), key);
    if (entry.containerId !== undefined) dropFrom(this.#byContainer, entry.containerId, key);
    this.#serial++;
  }

  /** Those that have this name in a network, in the order in which they came. */
  listByName(network: string, name: string): readonly NameEntry[] {
    return [...(this.#byName.get(network)?.get(name)?.values() ?? [])];
  }

  listByIp(ip: Ip): readonly NameEntry[] {
    return [...(this.#byIp.get(formatIp(ip))?.values() ?? [])];
  }

  /** The networks of the container that has a source address (as formatIp writes it). */
  networksOf(source: string): readonly string[] {
    const networks = new Set<string>();
    for (const {network, containerId} of this.#byIp.get(source)?.values() ?? []) {
      networks.add(network);
      const others = containerId === undefined ? undefined : this.#byContainer.get(containerId);
      for (const other of others?.values() ?? []) networks.add(other.network);
    }
    return [...networks];
  }

  list(): readonly NameEntry[] {
    return [...this.#entries.values()];
  }
}

const makeEntries = () => new Map<string, NameEntry>();

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}

function dropFrom(map: Map<string, Map<string, NameEntry>> | undefined, name: string, key: string): void {
  const entries = map?.get(name);
  entries?.delete(key);
  if (entries?.size === 0) map?.delete(name);
}
