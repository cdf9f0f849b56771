import type {output} from 'zod/v4/core';
import * as z from 'zod/mini';
import {absolutePath} from '../../fields.ts';

const ms = (fallback: number) => z._default(z.int().check(z.gte(10)), fallback);

const endpoint = z.string().check(
  z.refine((text) => {
    const url = URL.parse(text);
    if (url === null || !/^https?:$/.test(url.protocol)) return false;
    // A password in it would be in the log, and in what everybody may read of a network that is not ready.
    return url.pathname === '/' && url.search === '' && url.username === '' && url.password === '';
  }, 'expected a URL as "http://10.0.0.1:2379" or "https://…", without a user (user, passwordFile)'),
);

/** Keys of a membership of type `etcd`; flannel's names of the same are in docs/membership.md. */
export const etcdKeys = {
  endpoints: z.array(endpoint).check(z.minLength(1)),
  prefix: z._default(
    z
      .string()
      .check(
        z.refine(
          (text) => /^\/.*[^/]$/.test(text),
          'expected a path as "/coreos.com/network", no "/" at its end',
        ),
      ),
    '/coreos.com/network',
  ),
  caFile: z.optional(absolutePath),
  certFile: z.optional(absolutePath),
  keyFile: z.optional(absolutePath),
  user: z.optional(z.string().check(z.minLength(1))),
  passwordFile: z.optional(absolutePath),
  /** How long subnets stay ours without an agent; flannel's is a day. */
  leaseTtlS: z._default(z.int().check(z.gte(5)), 86_400),
  /** How long a host that went away counts as alive; 0: no such key. */
  aliveTtlS: z._default(z.int().check(z.gte(0)), 60),
  requestTimeoutMs: ms(3000),
  retryMs: ms(200),
  retryMaxMs: ms(10_000),
  /** How long etcd may not answer before the state says so. */
  staleAfterMs: ms(5000),
  probeMs: ms(60_000),
};
const schema = z.object(etcdKeys);
export type EtcdConf = Readonly<output<typeof schema>>;

/** Refuses a combination of keys that cannot work: throws an Error. */
export function checkEtcdConf({user, passwordFile, certFile, keyFile, aliveTtlS}: EtcdConf): void {
  if ((user === undefined) !== (passwordFile === undefined))
    throw new Error('membership: user and passwordFile belong together; give both or neither');
  if ((certFile === undefined) !== (keyFile === undefined))
    throw new Error('membership: certFile and keyFile belong together; give both or neither');
  if (aliveTtlS > 0 && aliveTtlS < 2)
    throw new Error(
      `membership: aliveTtlS: ${aliveTtlS} is shorter than it takes to renew; give at least 2, or 0`,
    );
}
