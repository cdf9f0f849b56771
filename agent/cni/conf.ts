import * as z from 'zod/mini';
import {absolutePath} from '../fields.ts';

/** The section `cni` of the agent's configuration. */
export const cniShape = z.object({
  /** Whether plugin calls are served at all; in a namespace of its own the agent cannot. */
  enabled: z._default(z.boolean(), true),
  /** Where the clients look; `<runDir>/cni.sock` if not given. */
  socket: z.optional(absolutePath),
  /** How many calls may be under way; the clients of further ones run the plugin themselves. */
  maxCalls: z._default(z.int().check(z.minimum(1)), 1024),
});
