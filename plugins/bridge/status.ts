import {accessSync, constants} from 'node:fs';
import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {NetlinkError, isDenied, isUnsupported} from '../../lib/netlink/error.ts';
import {addLink, findLink, listLinks, removeLink} from '../../lib/netlink/route/link.ts';
import {findObstacle, mostPorts} from './bridge.ts';
import {parseBridgeConf} from './conf.ts';
import type {BridgeConf} from './conf.ts';
import {forwardingSysctl} from './forwarding.ts';

// Above the most a bridge takes (65535): refused after the kernel has looked for the bridge's driver and our right to use it.
const impossibleMtu = 70_000;
const probe = 'weft-probe';

/** Whether an ADD could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const conf = parseBridgeConf(call);
  await checkBridge(host, conf);
  checkEntering(host);
  if (conf.isGateway) checkForwarding(host);
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

/** Asks the kernel for a bridge it cannot give; the kind of its refusal tells whether it could give one. */
async function checkBridgeSupport(host: Host, conf: BridgeConf): Promise<void> {
  try {
    await addLink(host.rt, {name: probe, info: {kind: 'bridge'}, mtu: impossibleMtu});
    // Kernels before 4.10 take any MTU.
    await removeLink(host.rt, {name: probe});
  } catch (error) {
    if (isDenied(error)) {
      throw notAvailable(`not allowed to make bridge "${conf.bridge}"`, 'the plugin needs CAP_NET_ADMIN');
    }
    if (isUnsupported(error)) {
      throw notAvailable('the kernel has no support for bridges', 'load the module: modprobe bridge');
    }
    if (!(error instanceof NetlinkError)) throw error;
  }
}

/** Goes where it is already, which takes the same right as going into a container. */
function checkEntering(host: Host): void {
  using own = host.sandbox('/proc/self/ns/net');
  try {
    own.netns.run(() => {});
  } catch (error) {
    throw notAvailable((error as Error).message, "containers' network namespaces cannot be entered");
  }
}

function checkForwarding(host: Host): void {
  for (const name of Object.values(forwardingSysctl)) {
    try {
      if (host.sysctl.read(name) === '1') continue;
    } catch {
      // A kernel without this family; an ADD with addresses of it says so.
      continue;
    }
    try {
      accessSync(`/proc/sys/${name}`, constants.W_OK);
    } catch (error) {
      throw notAvailable(
        `cannot enable forwarding, which "isGateway" needs: ${(error as Error).message}`,
        `sysctl -w ${name.replaceAll('/', '.')}=1, or mount /proc/sys writable`,
      );
    }
  }
}

function notAvailable(msg: string, details: string): CniError {
  return new CniError(errorCodes.notAvailable, msg, details);
}
