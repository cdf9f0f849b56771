import * as z from 'zod/mini';
import {parseIp} from '../../lib/ip/address.ts';
import {absolutePath, listenAddress} from '../fields.ts';

const milliseconds = z.int().check(z.gte(1), z.lte(3_600_000));

/** The section `registry`: who answers for services. */
export const registryShape = z.object({
  enabled: z._default(z.boolean(), true),
  /** Where registrations are kept; they outlive a reboot. */
  dir: z._default(absolutePath, '/var/lib/weft/registry'),
  /** The interface over HTTP, root's alone; `<runDir>/registry.sock` if not given. */
  socket: z.optional(absolutePath),
  /** The interface over TCP, for those with a certificate of `ca`. */
  tls: z.optional(
    z.object({
      listen: listenAddress,
      cert: absolutePath,
      key: absolutePath,
      ca: absolutePath,
    }),
  ),
  /** This host's address, for instances that name none. */
  address: z._default(
    z.string().check(z.refine((text) => parseIp(text) !== undefined, 'expected an address')),
    '127.0.0.1',
  ),
  /** How often it is looked for instances that were critical for too long. */
  reapMs: z._default(milliseconds, 5000),
});

export type RegistryConf = Readonly<z.output<typeof registryShape>>;

/** What holds where the configuration says nothing. */
export function defaultRegistry(): RegistryConf {
  return z.parse(registryShape, {});
}
