/** Where things are below a network's prefix. flannel knows `config` and `subnets`; the others are ours. */
export interface Layout {
  /** Everything of the network begins with it. */
  readonly root: string;
  readonly config: string;
  /** Compared and bumped where the key of a subnet alone does not exclude another. */
  readonly guard: string;
  subnet(key: string): string;
  /** Which subnets a host had last, for as long as anybody remembers: `NodeRecord`. */
  node(id: string): string;
  /** There while a host's agent runs: `AliveRecord`. */
  alive(id: string): string;
  /** Of an `l2` network: one key for each container. */
  endpoints(id: string): string;
  /** The rest of a key after the part that says its kind; undefined for another kind. */
  parse(
    key: string,
  ): {readonly kind: 'subnets' | 'nodes' | 'alive' | 'endpoints'; readonly rest: string} | undefined;
}

export function layoutOf(prefix: string): Layout {
  const root = `${prefix.replace(/\/+$/, '')}/`;
  // A name may have a slash in it; in a key it must not.
  const name = encodeURIComponent;
  return {
    root,
    config: `${root}config`,
    guard: `${root}guard`,
    subnet: (key) => `${root}subnets/${key}`,
    node: (id) => `${root}nodes/${name(id)}`,
    alive: (id) => `${root}alive/${name(id)}`,
    endpoints: (id) => `${root}endpoints/${name(id)}/`,
    parse(key) {
      const [kind = '', ...rest] = key.startsWith(root) ? key.slice(root.length).split('/') : [];
      if (kind !== 'subnets' && kind !== 'nodes' && kind !== 'alive' && kind !== 'endpoints')
        return undefined;
      return {kind, rest: rest.join('/')};
    },
  };
}

/** Value of `nodes/<id>`. */
export interface NodeRecord {
  /** The last part of the key of its subnets. */
  readonly subnet: string;
  /** When it was first seen, for people. */
  readonly since: string;
}

/** Value of `alive/<id>`. */
export interface AliveRecord {
  /** Of the kernel that runs there: another one under the same id is another host, or the same after a restart. */
  readonly boot: string;
  readonly publicIPs: readonly string[];
}

export function parseNodeRecord(value: string | undefined): NodeRecord | undefined {
  const {subnet, since} = objectOf(value);
  return typeof subnet === 'string' ? {subnet, since: typeof since === 'string' ? since : ''} : undefined;
}

export function parseAliveRecord(value: string | undefined): AliveRecord | undefined {
  const {boot, publicIPs} = objectOf(value);
  if (typeof boot !== 'string') return undefined;
  const ips = Array.isArray(publicIPs) ? publicIPs.filter((each) => typeof each === 'string') : [];
  return {boot, publicIPs: ips};
}

/** The object in a text of JSON; an empty one for anything else. */
export function objectOf(value: string | undefined): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(value ?? '');
    if (typeof parsed === 'object' && parsed !== null) return parsed as Readonly<Record<string, unknown>>;
  } catch {
    // Somebody else's.
  }
  return {};
}
