import * as z from 'zod/mini';
import {parseCidr} from '../../lib/ip/cidr.ts';
import {defaultServiceRanges} from '../catalog/ranges.ts';

const milliseconds = z.int().check(z.gte(1), z.lte(3_600_000));

/** The section `services`: addresses of services, and how connections to them are spread. */
export const servicesShape = z.object({
  enabled: z._default(z.boolean(), true),
  /** Where services' addresses come from; at most one range of each family. */
  ranges: z._default(
    z.array(
      z
        .string()
        .check(z.refine((text) => parseCidr(text) !== undefined, 'expected a range such as "10.96.0.0/16"')),
    ),
    [...defaultServiceRanges],
  ),
  /** How often the kernel's rules are compared with what they should be. */
  resyncMs: z._default(milliseconds, 30_000),
  /** How long changes are gathered before the rules are changed. */
  debounceMs: z._default(milliseconds, 20),
  /** How often weights by latency may change. */
  weightsMs: z._default(milliseconds, 5000),
});

export type ServicesConf = Readonly<z.output<typeof servicesShape>>;

/** What holds where the configuration says nothing. */
export function defaultServices(): ServicesConf {
  return z.parse(servicesShape, {});
}
