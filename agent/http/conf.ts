import * as z from 'zod/mini';
import {listenAddress} from '../fields.ts';

/** The section `http` of the agent's configuration. */
export const httpShape = z.object({
  /** `127.0.0.1:9470` or `[::1]:9470`: /livez, /readyz and /metrics over TCP. */
  listen: z.optional(listenAddress),
});
