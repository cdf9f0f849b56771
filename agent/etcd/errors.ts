import {parseJsonObject, type HttpAnswer} from '../outbound/http.ts';
import type {WireError} from './wire.ts';

/** What etcd itself answered: `code` is gRPC's. */
export class EtcdError extends Error {
  override readonly name = 'EtcdError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

// google.golang.org/grpc/codes
const unavailable = 14;
const deadlineExceeded = 4;

/** Parses what must be an object of JSON. Throws an Error that shows how it begins. */
export function parseAnswer(text: string): unknown {
  return parseJsonObject(text, 'etcd');
}

/** The error within an answer of a stream. */
export function errorOfWire({error, message, code, grpc_code}: WireError): EtcdError {
  return new EtcdError(code ?? grpc_code ?? 2, message ?? error ?? 'unknown error');
}

/** The error in an answer whose status is not 200. */
export function errorOf({status, body}: HttpAnswer): Error {
  let parsed: Omit<WireError, 'error'> & {error?: string | WireError | null};
  try {
    parsed = parseAnswer(body) as WireError;
  } catch {
    return statusError(status, body);
  }
  // A stream that fails at its beginning has its error one level down.
  if (typeof parsed.error === 'object' && parsed.error !== null) return errorOfWire(parsed.error);
  if (parsed.code === undefined && parsed.message === undefined) return statusError(status, body);
  return errorOfWire(parsed as WireError);
}

function statusError(status: number, body: string): Error {
  let remedy = '';
  // With authentication, etcd takes no certificate through its gateway that names somebody.
  if (/CommonName of client/.test(body))
    remedy = '; give the agent a client certificate whose subject has no CN';
  if (status === 404) remedy = '; etcd 3.4 or newer is needed, not started with --enable-grpc-gateway=false';
  return new Error(`HTTP status ${status}: ${JSON.stringify(body.trim().slice(0, 120))}${remedy}`);
}

/** Whether another endpoint may do better. */
export function isFaultOfEndpoint(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return true;
  return error.code === unavailable || error.code === deadlineExceeded;
}
