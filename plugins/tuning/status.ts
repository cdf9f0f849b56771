import {CniError, errorCodes} from '../../lib/cni/error.ts';
import type {Call} from '../../lib/cni/plugin.ts';
import {checkWritable} from '../../lib/writable.ts';
import {checkAllowed} from './allow-list.ts';
import {isEmpty} from './attributes.ts';
import {parseTuningConf} from './conf.ts';

/** Whether an ADD could be served: what the configuration names is allowed on this host, and could be written down. */
export async function status(call: Call): Promise<void> {
  const {sysctls, attributes, dataDir} = parseTuningConf(call);
  notAvailableIf(
    () => checkAllowed(sysctls.map(({key}) => key)),
    'no ADD with this configuration can succeed',
  );
  if (isEmpty(attributes)) return;
  notAvailableIf(
    () => checkWritable(dataDir),
    'what an interface was like is kept there: make it writable, or set dataDir',
  );
}

function notAvailableIf(look: () => void, details: string): void {
  try {
    look();
  } catch (cause) {
    throw new CniError(errorCodes.notAvailable, (cause as Error).message, details);
  }
}
