import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import type {Host} from '../../lib/host.ts';
import {checkWritable} from '../../lib/writable.ts';
import {parseVxlanConf} from './conf.ts';
import type {VxlanConf} from './conf.ts';
import {findSubnetConflict} from './conflict.ts';
import {readHostNetwork} from './host-network.ts';
import {renderDelegate} from './render.ts';
import type {HostNetwork} from './render.ts';
import {isStatic, planStaticNetwork} from './static/network.ts';
import {hostNetworkOf} from './static/record.ts';

/** Whether an ADD could be served now. Changes nothing. CniError 50 says what is in the way. */
export async function status(call: Call, host: Host): Promise<void> {
  const conf = parseVxlanConf(call);
  const network = await asNotAvailable(async () => {
    return isStatic(conf) ? hostNetworkOf(await planStaticNetwork(host, conf)) : readHostNetwork(conf);
  });
  const delegate = renderDelegate(conf.template, network);
  checkDataDir(conf);
  await checkConflict(host, conf, {network, delegate});
  await call.delegate(conf.template.type, 'STATUS', delegate);
}

async function asNotAvailable<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (!(error instanceof CniError)) throw error;
    throw new CniError(errorCodes.notAvailable, error.message, error.details, {cause: error.cause});
  }
}

function checkDataDir({dataDir}: VxlanConf): void {
  try {
    checkWritable(dataDir);
  } catch (error) {
    throw new CniError(
      errorCodes.notAvailable,
      (error as Error).message,
      'how containers are connected is kept there: make it writable, or set "dataDir"',
    );
  }
}

async function checkConflict(
  host: Host,
  conf: VxlanConf,
  rendered: Parameters<typeof findSubnetConflict>[2] & {readonly network: HostNetwork},
): Promise<void> {
  const conflict = await findSubnetConflict(host, conf, rendered);
  if (conflict) throw new CniError(errorCodes.notAvailable, conflict.msg, conflict.remedy);
}
