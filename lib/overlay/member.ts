import type {Ip} from '../ip/address.ts';
import type {Cidr} from '../ip/cidr.ts';

/** What all hosts of one overlay network agree on. */
export interface OverlayNetwork {
  readonly name: string;
  /** `routed`: every host has subnets of its own; `l2`: one subnet spans the hosts, each has a range of it. */
  readonly form: 'routed' | 'l2';
  /** 1 to 2^24 - 1. */
  readonly vni: number;
  /** UDP port of the underlay; flannel's is 8472, the registered one 4789. */
  readonly port: number;
  /** The ranges that the whole overlay uses, at most one per family. */
  readonly ranges: readonly Cidr[];
  /** Peers on the same segment are reached by a plain route instead of the tunnel. */
  readonly directRouting: boolean;
}

/** A container's address in an `l2` network: what its peers need to reach it without asking. */
export interface Endpoint {
  readonly ips: readonly Ip[];
  readonly mac: string;
}

/** One host of an overlay network, itself or a peer, as a membership tells it. */
export interface Member {
  /** The host's identity: survives changes of its addresses. */
  readonly id: string;
  /** Where its VTEP is reached: at most one address per family. */
  readonly underlay: readonly Ip[];
  /** The network addresses of its subnets (`routed`) or ranges (`l2`), at most one per family. */
  readonly subnets: readonly Cidr[];
  /** Hardware addresses of its VTEPs, by the family of the underlay. */
  readonly macs: {readonly 4?: string | undefined; readonly 6?: string | undefined};
  /** The MTU of its overlay, where it is known. */
  readonly mtu?: number | undefined;
  /** Only in `l2` networks. */
  readonly endpoints?: readonly Endpoint[] | undefined;
  /** Of two that claim the same, the one with the smaller figure was first. */
  readonly seniority?: number | undefined;
}
