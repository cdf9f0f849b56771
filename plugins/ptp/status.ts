import {checkForwardingPossible} from '../../lib/attach/forwarding.ts';
import {checkEntering, findLinkObstacle} from '../../lib/attach/readiness.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {parsePtpConf} from './conf.ts';

/** Whether an ADD could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const conf = parsePtpConf(call);
  const obstacle = await findLinkObstacle(host, 'veth');
  if (obstacle === 'denied') {
    throw notAvailable('not allowed to make veth pairs', 'the plugin needs CAP_NET_ADMIN');
  }
  if (obstacle === 'unsupported') {
    throw notAvailable('the kernel has no support for veth pairs', 'load the module: modprobe veth');
  }
  checkEntering(host);
  if (conf.ipamType === undefined) return;
  checkForwardingPossible(host, 'ptp');
  await call.delegate(conf.ipamType, 'STATUS');
}

function notAvailable(msg: string, details: string): CniError {
  return new CniError(errorCodes.notAvailable, msg, details);
}
