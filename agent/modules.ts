import type {AgentConfig} from './config.ts';
import type {AgentContext, AgentModule} from './module.ts';
import {createOverlayModule} from './overlay/module.ts';
import {namesRow} from './names/module.ts';
import {registryRow} from './registry/module.ts';
import {servicesRow} from './services/module.ts';
import {sharingRow} from './sharing/module.ts';

/** A module of the agent: the section it is made for, and how. */
export interface ModuleRow {
  /** Its name in `/status`, in the log and in the names of its figures, and its section in the configuration. */
  readonly name: keyof AgentConfig;
  /** Whether a configuration asks for it. */
  readonly isWanted: (config: AgentConfig) => boolean;
  readonly create: (context: AgentContext) => AgentModule;
}

/**
 * Those that need nothing but the context, in the order in which they start: who fills the catalog is before who answers and writes
 * rules by it, so that an agent which takes over forgets nothing for a moment.
 */
export const modules: readonly ModuleRow[] = [
  {name: 'overlay', isWanted: ({overlay}) => overlay !== undefined, create: createOverlayModule},
  registryRow,
  sharingRow,
  namesRow,
  servicesRow,
];
