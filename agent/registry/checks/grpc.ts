import {connect, constants} from 'node:http2';
import type {CheckDefinition} from '../registration.ts';
import type {ProbeResult} from './probe.ts';

// grpc.health.v1.Health/Check: HealthCheckRequest {string service = 1}, HealthCheckResponse {ServingStatus status = 1}. A message over HTTP/2 is
// a byte (0: not compressed), its length in 32 bits, and the message.

const serving = 1;

/** Passing when the service says that it serves. */
export async function probeGrpc(check: CheckDefinition, signal: AbortSignal): Promise<ProbeResult> {
  const {grpc = '', useTls, tlsSkipVerify} = check;
  const [endpoint = '', service = ''] = grpc.split('/');
  const session = connect(`${useTls ? 'https' : 'http'}://${endpoint}`, {rejectUnauthorized: !tlsSkipVerify});
  const {promise, resolve, reject} = Promise.withResolvers<ProbeResult>();
  session.once('error', reject);
  signal.addEventListener('abort', () => reject(new Error('aborted')), {once: true});
  try {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/grpc.health.v1.Health/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    const chunks: Buffer[] = [];
    let status = '';
    stream.on('response', (headers) => (status = String(headers['grpc-status'] ?? '')));
    stream.on('trailers', (trailers) => (status = String(trailers['grpc-status'] ?? status)));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.once('error', reject);
    stream.once('end', () => resolve(judge(Buffer.concat(chunks), status, grpc)));
    stream.end(formatRequest(service));
    return await promise;
  } finally {
    session.destroy(undefined, constants.NGHTTP2_NO_ERROR);
  }
}

export function formatRequest(service: string): Buffer {
  const name = Buffer.from(service);
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a, name.length]), name]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

function judge(answer: Buffer, status: string, grpc: string): ProbeResult {
  if (status !== '' && status !== '0') return {status: 'critical', output: `gRPC ${grpc}: status ${status}`};
  // Field 1, a varint; what is not there is 0, "unknown".
  const value = answer[5] === 0x08 ? (answer[6] ?? 0) : 0;
  if (value === serving) return {status: 'passing', output: `gRPC ${grpc}: serving`};
  return {
    status: 'critical',
    output: `gRPC ${grpc}: ${['unknown', '', 'not serving', 'service unknown'][value] ?? value}`,
  };
}
