/** Made by build/bundle.ts. */
declare module 'weft:plugins' {
  import type {Plugin} from '../lib/cni/plugin.ts';
  import type {Host} from '../lib/host.ts';

  /** Every plugin by every name it answers to. */
  export const plugins: ReadonlyMap<string, Plugin<Host>>;
}

declare module 'weft:release' {
  /** What this build is. */
  export const release: import('./release.ts').Release;
}
