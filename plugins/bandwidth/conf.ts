import * as z from 'zod/mini';
import {parseConf} from '../../lib/cni/conf.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Owner} from '../../lib/cni/owner.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {prepareShape} from '../../lib/cni/shape.ts';
import {parseCidr, subnetOf, type Cidr} from '../../lib/ip/cidr.ts';
import type {Limit} from './plan.ts';
import type {Selection} from './subnets.ts';

const limitKeys = {
  ingressRate: z.optional(z.number()),
  ingressBurst: z.optional(z.number()),
  egressRate: z.optional(z.number()),
  egressBurst: z.optional(z.number()),
};
const subnetKeys = {
  shapedSubnets: z.optional(z.array(z.string())),
  unshapedSubnets: z.optional(z.array(z.string())),
};
const schema = prepareShape(
  z.object({
    ...limitKeys,
    ...subnetKeys,
    runtimeConfig: z.optional(
      z.looseObject({bandwidth: z.optional(z.object({...limitKeys, ...subnetKeys}))}),
    ),
  }),
);

type Keys = z.output<typeof schema>;
type Limits = Pick<Keys, keyof typeof limitKeys>;

/** What a call asks of the bandwidth plugin. */
export interface BandwidthConf {
  readonly owner: Owner;
  /** What the container receives; undefined without a limit. */
  readonly ingress: Limit | undefined;
  /** What the container sends. */
  readonly egress: Limit | undefined;
  /** Which traffic the limits are for. */
  readonly selection: Selection;
}

const mostBurstBytes = 0xffff_ffff;

/** Reads and checks the configuration. Throws CniError 7 with the reference's sentences. */
export function parseBandwidthConf(call: Call): BandwidthConf {
  const conf = parseConf(call, schema);
  const fromRuntime = conf.runtimeConfig?.bandwidth;
  // One limit in the configuration, were it 0, and the runtime is not asked for any.
  const isStated = Object.keys(limitKeys).some((key) => conf[key as keyof Limits] !== undefined);
  const limits: Limits = isStated ? conf : (fromRuntime ?? {});
  return {
    owner: {network: call.name, containerId: call.containerId, ifName: call.ifName},
    ingress: limitOf(limits, 'ingress'),
    egress: limitOf(limits, 'egress'),
    selection: selectionOf({
      shaped: conf.shapedSubnets ?? fromRuntime?.shapedSubnets ?? [],
      unshaped: conf.unshapedSubnets ?? fromRuntime?.unshapedSubnets ?? [],
    }),
  };
}

function limitOf(limits: Limits, direction: 'ingress' | 'egress'): Limit | undefined {
  const rateKey = `${direction}Rate` as const;
  const burstKey = `${direction}Burst` as const;
  const rateBitsPerSecond = whole(rateKey, limits[rateKey]);
  const burstBits = whole(burstKey, limits[burstKey]);
  if (rateBitsPerSecond === 0 && burstBits === 0) return undefined;
  if (burstBits === 0) {
    throw invalid(
      'if rate is set, burst must also be set',
      `"${rateKey}" is ${rateBitsPerSecond}; give "${burstKey}" in bits, a tenth of the rate if in doubt`,
    );
  }
  if (rateBitsPerSecond === 0) {
    throw invalid(
      'if burst is set, rate must also be set',
      `"${burstKey}" is ${burstBits}; give "${rateKey}" in bits per second`,
    );
  }
  if (Math.floor(burstBits / 8) >= mostBurstBytes) {
    throw invalid('burst cannot be more than 4GB', `"${burstKey}" is ${burstBits} bits`);
  }
  if (rateBitsPerSecond < 8 || burstBits < 8) {
    throw invalid(
      `"${rateKey}" ${rateBitsPerSecond} with "${burstKey}" ${burstBits} is less than one byte`,
      'rates are bits per second, bursts are bits',
    );
  }
  return {rateBitsPerSecond, burstBits};
}

function whole(key: string, value = 0): number {
  if (Number.isInteger(value) && value >= 0 && value < 2 ** 64) return value;
  throw invalid(`failed to load netconf: ${key}: expected a whole number of bits, found ${value}`, '');
}

function selectionOf({
  shaped,
  unshaped,
}: {
  readonly shaped: readonly string[];
  readonly unshaped: readonly string[];
}): Selection {
  if (shaped.length > 0 && unshaped.length > 0) {
    throw invalid(
      'unshapedSubnets and shapedSubnets cannot be both specified, one of them should be discarded',
      '"shapedSubnets" limits only traffic with these subnets, "unshapedSubnets" all other traffic',
    );
  }
  if (shaped.length > 0) return {kind: 'only', subnets: shaped.map(subnet)};
  if (unshaped.length > 0) return {kind: 'except', subnets: unshaped.map(subnet)};
  return {kind: 'all'};
}

function subnet(text: string): Cidr {
  const cidr = parseCidr(text);
  if (!cidr) throw invalid(`bad subnet "${text}" provided`, `invalid CIDR address: ${text}`);
  return subnetOf(cidr);
}

function invalid(msg: string, details: string): CniError {
  return new CniError(errorCodes.invalidConfig, msg, details);
}
