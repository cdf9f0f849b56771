import {once} from 'node:events';
import {connect} from 'node:net';
import {splitEndpoint, type ProbeResult} from './probe.ts';

/** Passing when a connection is made. */
export async function probeTcp(endpoint: string, signal: AbortSignal): Promise<ProbeResult> {
  const socket = connect(splitEndpoint(endpoint));
  try {
    await once(socket, 'connect', {signal});
    return {status: 'passing', output: `connected to ${endpoint}`};
  } finally {
    socket.destroy();
  }
}
