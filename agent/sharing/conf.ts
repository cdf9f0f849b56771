import * as z from 'zod/mini';
import {absolutePath} from '../fields.ts';

const milliseconds = (fallback: number) => z._default(z.int().check(z.gte(10), z.lte(3_600_000)), fallback);
const path = (fallback: string) =>
  z._default(
    z
      .string()
      .check(
        z.refine((text) => /^\/.*[^/]$/.test(text), `expected a path as "${fallback}", no "/" at its end`),
      ),
    fallback,
  );

/** The section `sharing`: names and services of all hosts, in etcd. */
export const sharingShape = z.object({
  endpoints: z.array(z.string().check(z.regex(/^https?:\/\/[^/]+\/?$/))).check(z.minLength(1)),
  caFile: z.optional(absolutePath),
  certFile: z.optional(absolutePath),
  keyFile: z.optional(absolutePath),
  user: z.optional(z.string().check(z.minLength(1))),
  passwordFile: z.optional(absolutePath),
  /** Where our own keys are. */
  prefix: path('/weft/v1'),
  /** Where CoreDNS looks for names. */
  skydnsPath: path('/skydns'),
  /** How long what a host said stays when it is gone. */
  leaseTtlS: z._default(z.int().check(z.gte(2), z.lte(3600)), 20),
  /** What was last known of other hosts. */
  snapshot: z._default(absolutePath, '/var/lib/weft/catalog.json'),
  requestTimeoutMs: milliseconds(3000),
  retryMs: milliseconds(200),
  retryMaxMs: milliseconds(5000),
  probeMs: milliseconds(60_000),
  debounceMs: milliseconds(10),
  /** How often the snapshot is written, at most. */
  snapshotMs: milliseconds(5000),
});

export type SharingConf = Readonly<z.output<typeof sharingShape>>;
