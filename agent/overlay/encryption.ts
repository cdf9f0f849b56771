import {readFileSync} from 'node:fs';
import type {Host} from '../../lib/host.ts';
import {errnoOf, errnoText} from '../../lib/errno.ts';
import {OverlayPlanner, type Membership} from '../../lib/overlay/desired.ts';
import {
  ensureTunnel,
  openWireguard,
  removeTunnels,
  type WireguardSocket,
} from '../../lib/overlay/encryption/ensure.ts';
import {parseSecret} from '../../lib/overlay/encryption/keys.ts';
import {EncryptionPlanner, type SecureTunnel} from '../../lib/overlay/encryption/plan.ts';
import type {Desired, LocalSettings} from '../../lib/overlay/state.ts';
import type {OverlayNetworkConf} from './conf.ts';

/** WireGuard below a network, where its configuration has secrets; else nothing. */
export class Encryption {
  readonly #host: Pick<Host, 'rt'>;
  readonly #conf: OverlayNetworkConf;
  readonly #overlay = new OverlayPlanner();
  #planner: EncryptionPlanner | undefined;
  #wireguard: (WireguardSocket & {readonly socket: {readonly closed?: boolean}}) | undefined;
  /** What was planned last, and what of it is in the kernel. */
  #tunnels: readonly SecureTunnel[] = [];
  #ensured: readonly SecureTunnel[] = [];

  constructor(host: Pick<Host, 'rt'>, conf: OverlayNetworkConf) {
    this.#host = host;
    this.#conf = conf;
  }

  /** The devices that the network's packets have to go through; `undefined` where they need not. */
  get through(): readonly string[] | undefined {
    return this.#conf.encryption && this.#tunnels.map(({name}) => name);
  }

  isOwn(link: string): boolean {
    return this.#tunnels.some(({name}) => name === link);
  }

  /** Secrets are read again at the next plan. */
  reload(): void {
    this.#planner = undefined;
  }

  close(): void {
    this.#wireguard?.socket.close();
    this.#wireguard = undefined;
  }

  /** What the kernel shall have, encrypted or not. Throws where a secret cannot be read. */
  plan(membership: Membership, local: LocalSettings): Desired {
    const {encryption} = this.#conf;
    if (!encryption) return this.#overlay.plan(membership, local);
    this.#planner ??= new EncryptionPlanner({
      secrets: encryption.secrets.map(({id, file}) => parseSecret(id, readSecret(file))),
      port: encryption.port,
    });
    const encrypted = this.#planner.plan(membership, local);
    this.#tunnels = encrypted.tunnels;
    return {...this.#overlay.plan(encrypted.membership, encrypted.local), sources: encrypted.sources};
  }

  /** Brings the tunnels of the last plan into the kernel, before the overlay uses them. */
  async ensure(): Promise<void> {
    if (!this.#conf.encryption) return;
    const {rt} = this.#host;
    if (!this.#wireguard || this.#wireguard.socket.closed === true) this.#wireguard = await openWireguard(rt);
    const tunnels = this.#tunnels;
    for (const tunnel of tunnels) {
      const before = this.#ensured.find(({name}) => name === tunnel.name);
      await ensureTunnel(rt, this.#wireguard, tunnel, {network: this.#conf.name, before});
    }
    this.#ensured = tunnels;
  }

  /** Removes tunnels of secrets that are not used any more; after the overlay has left them. */
  async settle(): Promise<void> {
    await removeTunnels(this.#host.rt, this.#conf.name, this.#conf.encryption ? this.#tunnels : []);
  }
}

function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new Error(
      `encryption: ${file}: ${errnoText(errnoOf(cause) ?? 0)}; all hosts need the same secret there (openssl rand -base64 32)`,
      {cause},
    );
  }
}
