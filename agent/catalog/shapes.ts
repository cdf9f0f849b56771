import * as z from 'zod/mini';
import type {NamedContainer, ServiceDefinition, ServiceInstance} from './model.ts';

// What files and other hosts say is looked at before it is believed: one odd value must not take the agent down. Keys that a newer release
// added are left out, those that an older one lacks have a default.

const text = z.string();
const texts = z._default(z.array(text), []);
const key = z.string().check(z.minLength(1));
const portNumber = z.int().check(z.gte(0), z.lte(65_535));
const protocol = z._default(z.enum(['tcp', 'udp', 'sctp']), 'tcp');
const ttl = z._default(z.int().check(z.gte(0), z.lte(86_400)), 0);
const weight = z._default(z.int().check(z.gte(0), z.lte(65_535)), 1);
const flag = z._default(z.boolean(), false);
const perSecond = z.optional(z.int().check(z.gte(1)));

const container = z.object({
  key,
  node: text,
  network: text,
  containerId: text,
  domain: text,
  names: texts,
  ips: texts,
  ports: z._default(z.array(z.object({name: z.optional(text), protocol, port: portNumber})), []),
  texts,
  ttl,
});

const instance = z.object({
  key,
  node: text,
  namespace: text,
  name: text,
  id: text,
  network: z.optional(text),
  address: text,
  port: portNumber,
  protocol,
  tags: texts,
  meta: z._default(z.record(text, text), {}),
  weight,
  health: z.enum(['passing', 'warning', 'critical']),
  draining: flag,
  latencyMs: z.optional(z.number()),
});

const service = z.object({
  key,
  namespace: text,
  name: text,
  network: z.optional(text),
  addresses: texts,
  isAddressChosen: z.optional(z.boolean()),
  addressedAt: z.optional(z.number()),
  ports: z._default(
    z.array(
      z.object({name: z.optional(text), protocol, port: portNumber, targetPort: z.optional(portNumber)}),
    ),
    [],
  ),
  policy: z._default(
    z.enum(['roundRobin', 'random', 'weighted', 'sourceHash', 'leastLatency']),
    'roundRobin',
  ),
  stickySeconds: ttl,
  limitPerSource: perSecond,
  limit: perSecond,
  sourceRanges: z.optional(z.array(text)),
  ttl,
  updatedAt: z.optional(z.number()),
});

/** Each gives undefined for what is none of these. */
export const parseContainer = (value: unknown): NamedContainer | undefined =>
  z.safeParse(container, value).data;
export const parseInstance = (value: unknown): ServiceInstance | undefined =>
  z.safeParse(instance, value).data;
export const parseService = (value: unknown): ServiceDefinition | undefined =>
  z.safeParse(service, value).data;
