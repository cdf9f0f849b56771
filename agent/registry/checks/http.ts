import {request as requestHttp} from 'node:http';
import {request as requestHttps} from 'node:https';
import type {CheckDefinition} from '../registration.ts';
import type {ProbeResult} from './probe.ts';

const mostOutput = 4096;

/** Passing for 2xx, warning for 429, critical for everything else (as Consul has it). */
export async function probeHttp(check: CheckDefinition, signal: AbortSignal): Promise<ProbeResult> {
  const {http = '', method, header, body, tlsSkipVerify} = check;
  const {promise, resolve, reject} = Promise.withResolvers<ProbeResult>();
  const headers = Object.fromEntries(
    Object.entries(header).map(([name, values]) => [name, values.length === 1 ? values[0]! : [...values]]),
  );
  const options = {method, headers, signal, agent: false as const};
  const call = http.startsWith('https:')
    ? requestHttps(http, {...options, rejectUnauthorized: !tlsSkipVerify})
    : requestHttp(http, options);
  call.once('response', (response) => {
    const code = response.statusCode ?? 0;
    let text = '';
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      if (text.length < mostOutput) text = (text + chunk).slice(0, mostOutput);
    });
    response.once('error', reject);
    response.once('end', () => {
      const status = code >= 200 && code < 300 ? 'passing' : code === 429 ? 'warning' : 'critical';
      resolve({
        status,
        output: `HTTP ${method} ${http}: ${code} ${response.statusMessage ?? ''} Output: ${text}`,
      });
    });
  });
  call.once('error', reject);
  call.end(body);
  return promise;
}
