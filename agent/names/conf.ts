import * as z from 'zod/mini';
import {defaultDiscoveryDir} from '../../lib/discovery/attachment-file.ts';
import {parseIp} from '../../lib/ip/address.ts';
import {absolutePath} from '../fields.ts';

const address = z
  .string()
  .check(z.refine((text) => parseIp(text) !== undefined, 'expected the address of a DNS server'));
const milliseconds = z.int().check(z.gte(1), z.lte(3_600_000));
const count = z.int().check(z.gte(1));

/** The section `names`: the DNS server for attached containers. */
export const namesShape = z.object({
  enabled: z._default(z.boolean(), true),
  /** Where the plugin `discovery` writes the names of containers. */
  dir: z._default(absolutePath, defaultDiscoveryDir),
  /** Where it tells of changes; `<runDir>/names.sock` if not given. */
  socket: z.optional(absolutePath),
  /** Whose servers are asked for other names. */
  resolvConf: z._default(absolutePath, '/etc/resolv.conf'),
  /** Servers for other names, in place of resolv.conf's. */
  upstreams: z._default(z.array(address), []),
  /** Servers for names below a zone: {"corp.example": ["192.0.2.1"]}. */
  zones: z._default(z.record(z.string(), z.array(address)), {}),
  /** How long one of them is waited for. */
  upstreamTimeoutMs: z._default(milliseconds, 2000),
  /** The most questions that wait for other servers at a time. */
  maxInFlight: z._default(count, 1000),
  cache: z._default(
    z.object({
      maxEntries: z._default(count, 2000),
      /** Seconds. */
      maxTtl: z._default(count, 3600),
      staleTtl: z._default(z.int().check(z.gte(0)), 3600),
    }),
    {maxEntries: 2000, maxTtl: 3600, staleTtl: 3600},
  ),
  /** Questions that one container may ask. */
  rateLimit: z._default(z.object({perSecond: z._default(count, 2000), burst: z._default(count, 4000)}), {
    perSecond: 2000,
    burst: 4000,
  }),
  /** How often files are looked at, whatever the kernel tells of them. */
  rescanMs: z._default(milliseconds, 10_000),
  port: z._default(z.int().check(z.gte(1), z.lte(65_535)), 53),
});

export type NamesConf = Readonly<z.output<typeof namesShape>>;

/** What holds where the configuration says nothing. */
export function defaultNames(): NamesConf {
  return z.parse(namesShape, {});
}
