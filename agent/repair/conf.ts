import * as z from 'zod/mini';
import {defaultCacheFolder} from '../../lib/cni/runtime/cache.ts';
import {absolutePath} from '../fields.ts';

const ms = (fallback: number) => z._default(z.int().check(z.minimum(1)), fallback);

/** The section `repair` of the agent's configuration. */
export const repairShape = z.object({
  enabled: z._default(z.boolean(), true),
  /** Where runtimes note what they attached: the cache of libcni. */
  cacheDir: z._default(absolutePath, defaultCacheFolder),
  /** How long after something was removed everything is looked at: what removes one thing mostly removes more. */
  delayMs: ms(200),
  /** How often everything is looked at without a reason. */
  intervalMs: ms(60_000),
});

export type RepairConf = z.output<typeof repairShape>;

export const defaultRepair: RepairConf = z.parse(repairShape, {});
