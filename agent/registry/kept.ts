import * as z from 'zod/mini';
import type {CheckState} from './checks/watcher.ts';
import type {Registration} from './registration.ts';

// What files of this and of other releases say; keys that an older one lacks have a default.

/** How the checks of a registration stood. */
export interface KeptHealth {
  readonly key: string;
  readonly checks: Readonly<Record<string, Pick<CheckState, 'status' | 'output'>>>;
}

const text = z.string();
const optionalText = z.optional(text);
const flag = z._default(z.boolean(), false);
const status = z.enum(['passing', 'warning', 'critical']);
const count = (fallback: number) => z._default(z.number().check(z.gte(0)), fallback);

const check = z.object({
  id: text,
  name: z._default(text, ''),
  tcp: optionalText,
  http: optionalText,
  method: z._default(text, 'GET'),
  header: z._default(z.record(text, z.array(text)), {}),
  body: optionalText,
  grpc: optionalText,
  useTls: flag,
  tlsSkipVerify: flag,
  ttlMs: z.optional(z.number()),
  intervalMs: count(10_000),
  timeoutMs: count(10_000),
  successBeforePassing: count(1),
  failuresBeforeCritical: count(1),
  deregisterAfterMs: count(0),
  initial: z._default(status, 'critical'),
  notes: z._default(text, ''),
});

const registration = z.object({
  id: text,
  name: text,
  namespace: z._default(text, 'default'),
  address: text,
  port: z.int().check(z.gte(0), z.lte(65_535)),
  protocol: z._default(z.enum(['tcp', 'udp', 'sctp']), 'tcp'),
  network: optionalText,
  tags: z._default(z.array(text), []),
  meta: z._default(z.record(text, text), {}),
  weight: count(1),
  warningWeight: count(1),
  checks: z._default(z.array(check), []),
  maintenance: optionalText,
  draining: flag,
});

const health = z.object({
  key: text,
  checks: z.record(text, z.object({status, output: z._default(text, '')})),
});

/** Both give undefined for what is none of these. */
export const readRegistration = (value: unknown): Registration | undefined =>
  z.safeParse(registration, value).data;
export const readHealth = (value: unknown): KeptHealth | undefined => z.safeParse(health, value).data;
