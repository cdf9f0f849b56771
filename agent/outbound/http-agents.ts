import http from 'node:http';
import https from 'node:https';

/** What TLS needs, as PEM text. */
export interface TlsMaterial {
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  readonly servername?: string | undefined;
  readonly rejectUnauthorized?: boolean | undefined;
}

// A peer that is gone without a word is noticed by the kernel: first probe after this, then one each second.
const options = {keepAlive: true, keepAliveMsecs: 10_000, scheduling: 'lifo'} as const;

/** Connections that are kept open, over TLS with what lies in files; `refresh` reads those again. */
export class HttpAgents {
  readonly #read: () => TlsMaterial;
  #plain: http.Agent | undefined;
  #tls: {readonly agent: https.Agent; readonly material: string} | undefined;

  /** `read` may throw for files that are missing: then the request does. */
  constructor(read: () => TlsMaterial) {
    this.#read = read;
  }

  for(url: URL): http.Agent {
    if (url.protocol !== 'https:') return (this.#plain ??= new http.Agent(options));
    if (this.#tls === undefined) {
      const material = this.#read();
      this.#tls = {
        agent: new https.Agent({...options, ...given(material)}),
        material: JSON.stringify(material),
      };
    }
    return this.#tls.agent;
  }

  /** Takes certificates that were renewed; only then are connections of the old ones ended. */
  refresh(): void {
    if (this.#tls === undefined) return;
    try {
      if (JSON.stringify(this.#read()) === this.#tls.material) return;
    } catch {
      // Files that are being replaced: what was read before stands.
      return;
    }
    this.#tls.agent.destroy();
    this.#tls = undefined;
  }

  /** Ends all connections, those in use too: this host has another address, and nothing comes back to the old one. */
  renew(): void {
    this.#plain?.destroy();
    this.#tls?.agent.destroy();
    this.#plain = undefined;
    this.#tls = undefined;
  }

  close(): void {
    this.#plain?.destroy();
    this.#tls?.agent.destroy();
  }
}

function given(material: TlsMaterial): https.AgentOptions {
  return Object.fromEntries(Object.entries(material).filter(([, value]) => value !== undefined));
}
