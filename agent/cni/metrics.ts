import {Counter, Gauge, Histogram, type Registry} from 'prom-client';

/** The figures of the warm server. */
export interface CniMetrics {
  readonly calls: Counter<'plugin' | 'command' | 'code'>;
  readonly seconds: Histogram<'plugin' | 'command'>;
  readonly refused: Counter;
  readonly undelivered: Counter;
}

const names = [
  'weft_cni_calls_total',
  'weft_cni_call_seconds',
  'weft_cni_refused_total',
  'weft_cni_undelivered_total',
  'weft_cni_calls_running',
];

/** Registers them; `running` is asked when they are read. */
export function createCniMetrics(registry: Registry, running: () => number): CniMetrics {
  // The module may be made anew when its section changed.
  for (const name of names) registry.removeSingleMetric(name);
  const registers = [registry];
  const gauge = new Gauge({
    name: 'weft_cni_calls_running',
    help: 'Plugin calls under way',
    registers: [],
    collect() {
      gauge.set(running());
    },
  });
  registry.registerMetric(gauge);
  return {
    calls: new Counter({
      name: 'weft_cni_calls_total',
      help: 'Plugin calls served, by exit code',
      labelNames: ['plugin', 'command', 'code'],
      registers,
    }),
    seconds: new Histogram({
      name: 'weft_cni_call_seconds',
      help: 'How long plugin calls took',
      labelNames: ['plugin', 'command'],
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30],
      registers,
    }),
    refused: new Counter({
      name: 'weft_cni_refused_total',
      help: 'Plugin calls that were left to a process of their own',
      registers,
    }),
    undelivered: new Counter({
      name: 'weft_cni_undelivered_total',
      help: 'Plugin calls whose caller was gone before the answer',
      registers,
    }),
  };
}
