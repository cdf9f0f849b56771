import {checkForwardingPossible} from '../../lib/attach/forwarding.ts';
import {checkEntering, findLinkObstacle} from '../../lib/attach/readiness.ts';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {findLink, listLinks} from '../../lib/netlink/route/link.ts';
import {findObstacle, mostPorts} from './bridge.ts';
import {parseBridgeConf} from './conf.ts';
import type {BridgeConf} from './conf.ts';

/** Whether an ADD could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const conf = parseBridgeConf(call);
  await checkBridge(host, conf);
  checkEntering(host);
  if (conf.isGateway) checkForwardingPossible(host, '"isGateway"');
  if (conf.ipamType !== undefined) await call.delegate(conf.ipamType, 'STATUS');
}

async function checkBridge(host: Host, conf: BridgeConf): Promise<void> {
  const bridge = await findLink(host.rt, {name: conf.bridge});
  await checkBridgeSupport(host, conf);
  if (!bridge) return;
  const obstacle = findObstacle(bridge, conf);
  if (obstacle) throw notAvailable(obstacle.msg, obstacle.remedy);
  const ports = await listLinks(host.rt, {master: bridge.ifindex});
  if (ports.length >= mostPorts) {
    throw notAvailable(
      `bridge "${conf.bridge}" is full: ${ports.length} ports, the kernel allows ${mostPorts}`,
      'put further networks on bridges of their own',
    );
  }
}

async function checkBridgeSupport(host: Host, conf: BridgeConf): Promise<void> {
  const obstacle = await findLinkObstacle(host, 'bridge');
  if (obstacle === 'denied') {
    throw notAvailable(`not allowed to make bridge "${conf.bridge}"`, 'the plugin needs CAP_NET_ADMIN');
  }
  if (obstacle === 'unsupported') {
    throw notAvailable('the kernel has no support for bridges', 'load the module: modprobe bridge');
  }
}

function notAvailable(msg: string, details: string): CniError {
  return new CniError(errorCodes.notAvailable, msg, details);
}
