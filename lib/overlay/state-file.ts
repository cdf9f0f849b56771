import {readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import * as z from 'zod/mini';
import {prepareShape, readShape} from '../cni/shape.ts';
import type {Json} from '../cni/types.ts';
import {ensureDirectory} from '../files.ts';

/** Where the agent and the CNI plugin keep what they tell each other of overlay networks. */
export const overlayRunDir = '/run/weft/overlay';

/**
 * What the agent says of an overlay network to the CNI plugin, in `<runDir>/<network>.json`: beside the subnet file, which has
 * no words for "not now". It vanishes with a reboot.
 */
export interface OverlayState {
  /** The agent's name of the network. */
  readonly network: string;
  /** Whether new containers can be connected. */
  readonly ready: boolean;
  /** Why not, and what to do. */
  readonly reason?: string | undefined;
  /** Which subnet file is this network's: the CNI plugin's configuration may call the network otherwise. */
  readonly subnetFile: string;
  /** This host's subnets (`routed`) or ranges (`l2`). */
  readonly subnets: readonly string[];
  readonly mtu?: number | undefined;
  readonly form?: 'routed' | 'l2' | undefined;
  readonly vni?: number | undefined;
  /** Of an `l2` network: the bridge of the containers. */
  readonly bridge?: string | undefined;
}

const text = z.optional(z.string());
const shape = prepareShape(
  z.object({
    network: z.string(),
    ready: z.boolean(),
    reason: text,
    subnetFile: z.string(),
    subnets: z._default(z.array(z.string()), []),
    mtu: z.optional(z.int()),
    form: z.optional(z.enum(['routed', 'l2'])),
    vni: z.optional(z.int()),
    bridge: text,
  }),
);

const suffix = '.json';

function pathOf(runDir: string, network: string): string {
  return join(runDir, `${network}${suffix}`);
}

/** What the agent says of the network of this name, or else of the one with this subnet file; undefined without an agent. */
export function findOverlayState(
  {network, subnetFile}: {readonly network: string; readonly subnetFile: string},
  runDir: string = overlayRunDir,
): OverlayState | undefined {
  const named = readState(pathOf(runDir, network));
  if (named) return named;
  const states = listNames(runDir).map((name) => readState(join(runDir, name)));
  return states.find((state) => state?.subnetFile === subnetFile);
}

function listNames(runDir: string): readonly string[] {
  try {
    return readdirSync(runDir).filter((name) => name.endsWith(suffix));
  } catch {
    return [];
  }
}

/** `undefined` for what is not there, and for what is no such file. */
function readState(path: string): OverlayState | undefined {
  try {
    return readShape(shape, JSON.parse(readFileSync(path, 'utf8')) as Json);
  } catch {
    return undefined;
  }
}

/** Writes what the agent says; it appears whole. */
export function writeOverlayState(state: OverlayState, runDir: string = overlayRunDir): void {
  ensureDirectory(runDir, 0o755);
  const path = pathOf(runDir, state.network);
  writeFileSync(`${path}.new`, `${JSON.stringify(state)}\n`, {mode: 0o644});
  renameSync(`${path}.new`, path);
}

/** The agent has nothing to say of this network any more. */
export function removeOverlayState(network: string, runDir: string = overlayRunDir): void {
  try {
    unlinkSync(pathOf(runDir, network));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
