import {attrs, message, type Values} from '../attrs.ts';
import {bridgePort} from '../link/bridge-port.ts';
import {ifinfomsg} from '../link/common.ts';
import {afBridge, rtm, type RouteSocket} from './socket.ts';

// IFLA_PROTINFO, in messages of AF_BRIDGE
const portMessage = message(ifinfomsg, attrs({port: [12, bridgePort]}));

/**
 * Sets what a link has as a port of its bridge: hairpin, isolation, learning… Only what is given is changed. Reading:
 * `getLink(…).port?.bridgePort`.
 */
export function setBridgePort(
  rt: RouteSocket,
  {ifindex}: {readonly ifindex: number},
  settings: Values<typeof bridgePort.table>,
): Promise<void> {
  return rt.request({
    type: rtm.setLink,
    body: (w) => portMessage.put(w, {header: {family: afBridge, ifindex}, attributes: {port: settings}}),
    what: `set ${Object.keys(settings).join(', ')} of bridge port ${ifindex}`,
  });
}
