/** What of the agent's status is looked at; agent/overlay/status.ts writes it. */
export interface OverlayStatus {
  readonly networks: readonly OverlayNetworkStatus[];
}

export interface OverlayNetworkStatus {
  readonly name: string;
  readonly form: string;
  readonly ready: boolean;
  readonly reasons: readonly string[];
  readonly vni?: number | undefined;
  readonly port?: number | undefined;
  readonly mtu?: number | undefined;
  readonly membership: {
    readonly source?: string | undefined;
    readonly state: string;
    readonly reason?: string | undefined;
  };
  readonly devices?: readonly {readonly name: string}[];
  readonly peers: readonly OverlayPeerStatus[];
  readonly conflicts?: readonly string[];
  readonly differs: readonly string[];
}

export interface OverlayPeerStatus {
  readonly id: string;
  readonly state: string;
  readonly error?: string | undefined;
  readonly subnets: readonly string[];
  readonly underlay: readonly string[];
}
