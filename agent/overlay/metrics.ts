import {Counter, Gauge, Histogram, type Metric, type Registry} from 'prom-client';

/** The figures of the overlay, `weft_overlay_…`. */
export type OverlayMetrics = ReturnType<typeof createOverlayMetrics>;

/** Registers the figures, or finds them where the module was made anew with the same registry. */
export function createOverlayMetrics(registry: Registry) {
  const make = <T extends Metric>(name: string, create: (name: string) => T): T =>
    (registry.getSingleMetric(`weft_overlay_${name}`) as T | undefined) ?? create(`weft_overlay_${name}`);
  const registers = [registry];
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    make(name, (full) => new Gauge({name: full, help, labelNames: ['network', ...labelNames], registers}));
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
    make(name, (full) => new Counter({name: full, help, labelNames: ['network', ...labelNames], registers}));
  const histogram = (name: string, help: string, buckets: number[]) =>
    make(name, (full) => new Histogram({name: full, help, labelNames: ['network'], buckets, registers}));
  const seconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100];
  return {
    ready: gauge('ready', 'Whether containers of the network can be connected'),
    peers: gauge('peers', 'Hosts of the network by state: desired, programmed, failed', 'state'),
    reconcileSeconds: histogram('reconcile_seconds', 'How long a pass of the loop took', seconds),
    passes: counter('passes_total', 'Passes of the loop by kind: full, delta', 'kind'),
    ops: counter('ops_total', 'Changes asked of the kernel, by object and result', 'kind', 'op', 'result'),
    driftRepaired: counter(
      'drift_repaired_total',
      'Objects that others had changed and that were set right',
      'kind',
    ),
    staleRemoved: counter(
      'stale_gc_total',
      'Objects found at start that nothing accounted for, and removed',
      'kind',
    ),
    revision: gauge(
      'membership_revision',
      'Revision of the membership that is applied, where it is a number',
    ),
    age: gauge('membership_age_seconds', 'Time since the membership last said something or confirmed it'),
    leaseRemaining: gauge(
      'lease_remaining_seconds',
      'How long the subnet stays ours without renewal, where it ends',
    ),
    convergenceSeconds: histogram(
      'convergence_seconds',
      "From a membership's change to the kernel's last answer",
      seconds,
    ),
    duplicates: gauge(
      'duplicates',
      'Claims that two hosts make to one address, hardware address or subnet',
      'kind',
    ),
    held: gauge('held_peers', 'Peers that the membership has lost and that are kept for the time being'),
    conflict: gauge('conflict', 'Whether what was ours belongs to another host'),
    enobufs: counter('nl_enobufs_total', 'Times the kernel told more than could be heard'),
    mtu: gauge('mtu', "MTU of the containers' interfaces"),
    filterDrops: gauge('filter_drops', 'VXLAN packets of strangers that were dropped'),
  };
}

/** Takes away all that was said of a network: one that was given up is neither ready nor not. */
export async function forgetNetwork(metrics: OverlayMetrics, network: string): Promise<void> {
  for (const metric of Object.values(metrics)) {
    const {values} = await metric.get();
    const sets = new Map<string, Partial<Record<string, string | number>>>();
    for (const {labels} of values) {
      // A histogram's own.
      const {le: _, ...own} = labels;
      if (own['network'] === network) sets.set(JSON.stringify(own), own);
    }
    for (const labels of sets.values()) metric.remove(labels as Record<string, string>);
  }
}
