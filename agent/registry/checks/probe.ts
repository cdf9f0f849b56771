import type {Health} from '../../catalog/model.ts';
import type {CheckDefinition} from '../registration.ts';
import {probeGrpc} from './grpc.ts';
import {probeHttp} from './http.ts';
import {probeTcp} from './tcp.ts';

/** What one look at an instance found. */
export interface ProbeResult {
  readonly status: Health;
  /** A sentence for people. */
  readonly output: string;
}

/** Looks at an instance once; never throws, and never takes longer than its time-out. */
export async function probe(check: CheckDefinition): Promise<ProbeResult> {
  const signal = AbortSignal.timeout(check.timeoutMs);
  try {
    if (check.tcp !== undefined) return await probeTcp(check.tcp, signal);
    if (check.http !== undefined) return await probeHttp(check, signal);
    if (check.grpc !== undefined) return await probeGrpc(check, signal);
    return {status: 'critical', output: 'a heartbeat is not looked for'};
  } catch (error) {
    const output = signal.aborted ? `no answer within ${check.timeoutMs} ms` : (error as Error).message;
    return {status: 'critical', output};
  }
}

/** Splits `10.1.0.5:80` and `[fd00::5]:80`. */
export function splitEndpoint(text: string): {readonly host: string; readonly port: number} {
  const at = text.lastIndexOf(':');
  return {host: text.slice(0, at).replaceAll(/[[\]]/g, ''), port: Number(text.slice(at + 1))};
}
