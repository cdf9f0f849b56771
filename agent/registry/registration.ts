import * as z from 'zod/mini';
import {prepareShape, readShape, ShapeError} from '../../lib/cni/shape.ts';
import type {Json} from '../../lib/cni/types.ts';
import {findNameFault} from '../../lib/discovery/names.ts';
import {formatIp, parseIp} from '../../lib/ip/address.ts';
import {parseDuration} from './duration.ts';

/** A request that cannot be carried out: the sentence is for who made it, with HTTP's code. */
export class RegistryError extends Error {
  override readonly name = 'RegistryError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** How an instance is looked after. Exactly one of `tcp`, `http`, `grpc`, `ttlMs` is there. */
export interface CheckDefinition {
  readonly id: string;
  readonly name: string;
  /** `address:port`. */
  readonly tcp?: string | undefined;
  /** A URL. */
  readonly http?: string | undefined;
  readonly method: string;
  readonly header: Readonly<Record<string, readonly string[]>>;
  readonly body?: string | undefined;
  /** `address:port`, or `address:port/service`. */
  readonly grpc?: string | undefined;
  readonly useTls: boolean;
  /** Does not look whose certificate it is. */
  readonly tlsSkipVerify: boolean;
  /** A heartbeat has to come this often. */
  readonly ttlMs?: number | undefined;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly successBeforePassing: number;
  readonly failuresBeforeCritical: number;
  /** Critical for so long, and the instance is deregistered; 0: never. */
  readonly deregisterAfterMs: number;
  readonly initial: 'passing' | 'warning' | 'critical';
  readonly notes: string;
}

/** What somebody registered. */
export interface Registration {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** Undefined: that of the container which has the address, or all. */
  readonly network?: string | undefined;
  readonly tags: readonly string[];
  readonly meta: Readonly<Record<string, string>>;
  readonly weight: number;
  readonly warningWeight: number;
  readonly checks: readonly CheckDefinition[];
  readonly maintenance?: string | undefined;
  readonly draining: boolean;
}

const text = z.optional(z.string());
const check = z.object({
  CheckID: text,
  ID: text,
  Name: text,
  TCP: text,
  HTTP: text,
  Method: text,
  Header: z.optional(z.unknown()),
  Body: text,
  GRPC: text,
  GRPCUseTLS: z.optional(z.boolean()),
  TLSSkipVerify: z.optional(z.boolean()),
  TTL: text,
  Interval: text,
  Timeout: text,
  SuccessBeforePassing: z.optional(z.int()),
  FailuresBeforeCritical: z.optional(z.int()),
  DeregisterCriticalServiceAfter: text,
  Status: text,
  Notes: text,
});
const shape = prepareShape(
  z.object({
    ID: text,
    Name: z.string(),
    Namespace: text,
    Address: text,
    Port: z.optional(z.int()),
    Protocol: text,
    Network: text,
    Tags: z.optional(z.nullable(z.array(z.string()))),
    Meta: z.optional(z.nullable(z.unknown())),
    Weights: z.optional(z.nullable(z.object({Passing: z.optional(z.int()), Warning: z.optional(z.int())}))),
    Check: z.optional(z.nullable(check)),
    Checks: z.optional(z.nullable(z.array(check))),
    Draining: z.optional(z.boolean()),
  }),
);
const checkShape = prepareShape(check);
type CheckBody = z.output<typeof check>;

export const defaultNamespace = 'default';

/**
 * Reads what Consul's clients send for `/v1/agent/service/register`. `address` stands for one that is not given. Throws RegistryError
 * 400 that names the key.
 */
export function parseRegistration(
  json: Json,
  {address, namespace}: {readonly address: string; readonly namespace?: string | undefined},
): Registration {
  const body = read(shape, json);
  const name = requireLabel('Name', body.Name);
  const id = body.ID || body.Name;
  if (!/^[\w.:@-]{1,128}$/.test(id))
    throw refuse(`"ID": ${JSON.stringify(id)}: at most 128 letters, digits and _ . : @ -`);
  const protocol = (body.Protocol ?? 'tcp').toLowerCase();
  if (protocol !== 'tcp' && protocol !== 'udp' && protocol !== 'sctp') {
    throw refuse(`"Protocol": ${JSON.stringify(body.Protocol)} is none of tcp, udp, sctp`);
  }
  const port = body.Port ?? 0;
  if (port < 0 || port > 65_535) throw refuse(`"Port": ${port} is no port`);
  const ip = parseIp(body.Address || address);
  if (ip === undefined) throw refuse(`"Address": ${JSON.stringify(body.Address)} is no IP address`);
  const checks = [...(body.Check ? [body.Check] : []), ...(body.Checks ?? [])];
  const defined = checks.map((each, i) =>
    parseCheckBody(each, `service:${id}${checks.length > 1 ? `:${i + 1}` : ''}`),
  );
  return {
    id,
    name,
    namespace: requireLabel('Namespace', namespace || body.Namespace || defaultNamespace),
    address: formatIp(ip),
    port,
    protocol,
    ...(body.Network !== undefined && {network: body.Network}),
    tags: body.Tags ?? [],
    meta: readTexts('Meta', body.Meta),
    weight: requireWeight('Weights.Passing', body.Weights?.Passing ?? 1),
    warningWeight: requireWeight('Weights.Warning', body.Weights?.Warning ?? 1),
    checks: defined,
    draining: body.Draining ?? false,
  };
}

/** Reads a check by itself, as for `/v1/agent/check/register`. */
export function parseCheck(json: Json, id: string): CheckDefinition {
  return parseCheckBody(read(checkShape, json), id);
}

function parseCheckBody(body: CheckBody, defaultId: string): CheckDefinition {
  const kinds = [body.TCP, body.HTTP, body.GRPC, body.TTL].filter((kind) => kind);
  if (kinds.length !== 1) throw refuse('a check has exactly one of "TCP", "HTTP", "GRPC" and "TTL"');
  if (body.TCP) requireEndpoint('TCP', body.TCP);
  if (body.GRPC) requireEndpoint('GRPC', body.GRPC.split('/')[0]!);
  if (body.HTTP && !/^https?:\/\//.test(body.HTTP))
    throw refuse(`"HTTP": ${JSON.stringify(body.HTTP)} is no URL`);
  const interval = readDuration('Interval', body.Interval);
  if (!body.TTL && !interval) throw refuse('a check needs "Interval", such as "10s"');
  const ttlMs = readDuration('TTL', body.TTL);
  return {
    id: body.CheckID || body.ID || defaultId,
    name: body.Name || `check of ${defaultId}`,
    ...(body.TCP && {tcp: body.TCP}),
    ...(body.HTTP && {http: body.HTTP}),
    method: body.Method || 'GET',
    header: readHeader(body.Header),
    ...(body.Body !== undefined && {body: body.Body}),
    ...(body.GRPC && {grpc: body.GRPC}),
    useTls: body.GRPCUseTLS ?? false,
    tlsSkipVerify: body.TLSSkipVerify ?? false,
    ...(ttlMs !== undefined && {ttlMs}),
    intervalMs: interval ?? 0,
    timeoutMs: readDuration('Timeout', body.Timeout) ?? 10_000,
    successBeforePassing: Math.max(body.SuccessBeforePassing ?? 0, 1),
    failuresBeforeCritical: Math.max(body.FailuresBeforeCritical ?? 0, 1),
    deregisterAfterMs:
      readDuration('DeregisterCriticalServiceAfter', body.DeregisterCriticalServiceAfter) ?? 0,
    initial: body.Status === 'passing' || body.Status === 'warning' ? body.Status : 'critical',
    notes: body.Notes ?? '',
  };
}

function requireLabel(key: string, value: string): string {
  const fault = value.includes('.') ? 'it has a dot' : findNameFault(value);
  if (fault !== undefined) throw refuse(`"${key}": ${JSON.stringify(value)} is no name: ${fault}`);
  return value.toLowerCase();
}

function requireWeight(key: string, value: number): number {
  if (value < 0 || value > 65_535) throw refuse(`"${key}": ${value} is no weight: 0 to 65535`);
  return value;
}

function requireEndpoint(key: string, value: string): void {
  if (!/^(?:\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(value)) {
    throw refuse(`"${key}": ${JSON.stringify(value)}: expected an address and a port, such as "10.1.0.5:80"`);
  }
}

function readDuration(key: string, value: string | undefined): number | undefined {
  if (!value) return undefined;
  const ms = parseDuration(value);
  if (ms === undefined)
    throw refuse(`"${key}": ${JSON.stringify(value)} is no time: such as "10s" or "500ms"`);
  return ms;
}

function readTexts(key: string, value: unknown): Readonly<Record<string, string>> {
  if (value === undefined || value === null) return {};
  const entries = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : [['', 0]];
  if (!entries.every(([, each]) => typeof each === 'string'))
    throw refuse(`"${key}": expected texts by name`);
  return Object.fromEntries(entries) as Record<string, string>;
}

function readHeader(value: unknown): Readonly<Record<string, readonly string[]>> {
  if (value === undefined || value === null) return {};
  const entries = typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : [['', 0]];
  const isList = (each: unknown) => Array.isArray(each) && each.every((item) => typeof item === 'string');
  if (!entries.every(([, each]) => isList(each))) throw refuse('"Header": expected lists of texts by name');
  return Object.fromEntries(entries) as Record<string, string[]>;
}

function read<Shape extends Parameters<typeof readShape>[0]>(schema: Shape, json: Json): z.output<Shape> {
  try {
    return readShape(schema, json);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    throw refuse(`"${error.path}": ${error.message}`);
  }
}

function refuse(message: string): RegistryError {
  return new RegistryError(400, message);
}
