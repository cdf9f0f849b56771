/** Made by build/bundle.ts. */
declare module 'weft:plugins' {
  import type {Plugin} from '../lib/cni/plugin.ts';
  import type {Host} from '../lib/host.ts';

  /** Every plugin by every name it answers to. */
  export const plugins: import('./plugin-table.ts').PluginTable<Plugin<Host>>;
}

declare module 'weft:shared' {
  /** What scripts of plugins that are not in the start-up snapshot use of it, by module. */
  export const shared: Readonly<Record<string, object>>;
}

declare module 'weft:release' {
  /** What this build is. */
  export const release: import('./release.ts').Release;
}
