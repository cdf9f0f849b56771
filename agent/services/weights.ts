import type {ServiceInstance} from '../catalog/model.ts';

/** What the fastest instance of a service weighs; others weigh less, in proportion. */
const full = 100;
/** Weights that differ by less stay: rules are not rewritten for noise. */
const hysteresis = 0.2;
/** Milliseconds added to every latency: differences below are the agent's own, not the instances'. */
const blur = 1;

/** Weights by latency, smoothed, changed only when it is worth it. */
export class LatencyWeights {
  readonly #weights = new Map<string, number>();

  /** Reckons the weights of a service's instances anew; tells whether any changed. */
  update(instances: readonly ServiceInstance[]): boolean {
    const measured = instances.flatMap(({latencyMs}) => (latencyMs === undefined ? [] : [latencyMs + blur]));
    if (measured.length === 0) return false;
    const best = Math.min(...measured);
    let isChanged = false;
    for (const {key, latencyMs} of instances) {
      // One that was not measured yet gets what the slowest gets: it is asked soon.
      const latency = latencyMs === undefined ? Math.max(...measured) : latencyMs + blur;
      const weight = Math.max(1, Math.round((full * best) / latency));
      const before = this.#weights.get(key);
      if (before !== undefined && Math.abs(weight - before) <= before * hysteresis) continue;
      this.#weights.set(key, weight);
      isChanged = true;
    }
    return isChanged;
  }

  weightOf({key}: ServiceInstance): number | undefined {
    return this.#weights.get(key);
  }

  forget(key: string): void {
    this.#weights.delete(key);
  }
}
