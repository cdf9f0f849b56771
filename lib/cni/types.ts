import type {Cidr} from '../ip/cidr.ts';
import type {Ip} from '../ip/address.ts';

/** Anything JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | {readonly [key: string]: Json};
export type JsonObject = {readonly [key: string]: Json};

/** A link of the result (spec 1.1.0 "interfaces"); without `sandbox` it is in the host's namespace. */
export interface Interface {
  readonly name: string;
  readonly mac?: string;
  readonly mtu?: number;
  readonly sandbox?: string;
  readonly socketPath?: string;
  readonly pciID?: string;
}

/** An address of the result; `interface` is an index into `Result.interfaces`. */
export interface IpConfig {
  readonly interface?: number;
  readonly address: Cidr;
  readonly gateway?: Ip;
}

export interface Route {
  readonly dst: Cidr;
  readonly gw?: Ip;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly priority?: number;
  readonly table?: number;
  /** rtnetlink's scope: 0 global, 253 link, 254 host. */
  readonly scope?: number;
}

export interface Dns {
  readonly nameservers?: readonly string[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly options?: readonly string[];
}

/** A result in the shape of the newest spec version; `result.ts` converts from and to the older ones. */
export interface Result {
  readonly interfaces: readonly Interface[];
  readonly ips: readonly IpConfig[];
  readonly routes: readonly Route[];
  readonly dns: Dns;
}

/** One entry of GC's list of attachments that are still in use. */
export interface Attachment {
  readonly containerId: string;
  readonly ifName: string;
}
