import type {Host} from '../lib/host.ts';

/** Waits for what is under way already; who calls may let others work meanwhile. */
export type Pause = <T>(wait: Promise<T>) => Promise<T>;

/** The host of one call: as `host`, but where it waits for links to go, it does so in `pause`. */
export function hostThatPauses(host: Host, pause: Pause): Host {
  const {remover} = host;
  const remove: typeof remover.remove = (ifindex) => {
    const removal = remover.remove(ifindex);
    return {begun: () => pause(removal.begun()), gone: () => pause(removal.gone())};
  };
  return Object.create(host, {remover: {value: {remove}}}) as Host;
}
