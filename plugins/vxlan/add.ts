import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {Undo} from '../../lib/cni/undo.ts';
import type {JsonObject, Result} from '../../lib/cni/types.ts';
import type {Host} from '../../lib/host.ts';
import {parseVxlanConf} from './conf.ts';
import type {VxlanConf} from './conf.ts';
import {findSubnetConflict} from './conflict.ts';
import {listCidrs, readHostNetwork, sameSubnets} from './host-network.ts';
import {publishEndpoint} from './endpoint.ts';
import {ensureStaticNetwork, isStatic} from './static/network.ts';
import {renderDelegate} from './render.ts';
import type {HostNetwork} from './render.ts';
import {findScratch, formatScratch, removeScratch, writeScratch} from './scratch.ts';

/** Has the delegate connect the container within this host's subnet. A failure at any step takes back the steps before it. */
export async function add(call: Call, host: Host): Promise<Result> {
  const conf = parseVxlanConf(call);
  const network = isStatic(conf) ? await ensureStaticNetwork(call, host, conf) : readHostNetwork(conf);
  const delegate = renderDelegate(conf.template, network);
  await using undo = new Undo(call);
  noteDelegate(conf, delegate, undo);
  const result = await connect({call, host, conf, network, delegate});
  undo.add('disconnect the container', () => call.delegate(conf.template.type, 'DEL', delegate));
  if (!isStatic(conf)) confirmSubnet(conf, network);
  if (network.form === 'l2') publishEndpoint(conf, result);
  undo.commit();
  return result;
}

/** Before the delegate begins, so that a DEL knows of whatever it did. */
function noteDelegate({dataDir, owner}: VxlanConf, delegate: JsonObject, undo: Undo): void {
  const noted = findScratch(dataDir, owner);
  writeScratch(dataDir, owner, formatScratch(delegate));
  // A second ADD of an attachment fails, and must not make the DEL of the first forget.
  undo.add("take back the note of the delegate's configuration", () => {
    if (noted) writeScratch(dataDir, owner, noted.text);
    else removeScratch(dataDir, owner);
  });
}

/**
 * The agent may have got another subnet since we looked: the container would have an address that leads to another host, for as
 * long as it lives.
 */
function confirmSubnet(conf: VxlanConf, {subnets}: HostNetwork): void {
  const now = readHostNetwork(conf).subnets;
  if (sameSubnets(now, subnets)) return;
  throw new CniError(
    errorCodes.tryAgainLater,
    `this host's subnet changed from ${listCidrs(subnets)} to ${listCidrs(now)} while the container was connected`,
    'the next ADD gets an address of the new one',
  );
}

interface Connecting {
  readonly call: Call;
  readonly host: Host;
  readonly conf: VxlanConf;
  readonly network: HostNetwork;
  readonly delegate: JsonObject;
}

async function connect({call, host, conf, network, delegate}: Connecting): Promise<Result> {
  try {
    return (await call.delegate(conf.template.type, 'ADD', delegate))!;
  } catch (cause) {
    // Looked for only now: it costs every other ADD nothing.
    const conflict = await findSubnetConflict(host, conf, {network, delegate}).catch(() => undefined);
    const what = conflict === undefined ? '' : ` (${conflict.msg}; ${conflict.remedy})`;
    throw new Error(`failed to delegate add${what}`, {cause});
  }
}
