import {Counter, Gauge, Histogram, type Registry} from 'prom-client';

/** The figures of repair. */
export interface RepairMetrics {
  readonly seconds: Histogram;
  readonly restored: Counter<'plugin'>;
  readonly takenBack: Counter;
  readonly failures: Counter;
}

const names = [
  'weft_repair_look_seconds',
  'weft_repair_restored_total',
  'weft_repair_taken_back_total',
  'weft_repair_failures_total',
  'weft_repair_attachments',
];

/** Registers them; `attachments` is asked when they are read. */
export function createRepairMetrics(registry: Registry, attachments: () => number): RepairMetrics {
  // The module may be made anew when its section changed.
  for (const name of names) registry.removeSingleMetric(name);
  const registers = [registry];
  const gauge = new Gauge({
    name: 'weft_repair_attachments',
    help: 'Live attachments that were looked at the last time',
    registers: [],
    collect() {
      gauge.set(attachments());
    },
  });
  registry.registerMetric(gauge);
  return {
    seconds: new Histogram({
      name: 'weft_repair_look_seconds',
      help: 'How long it took to look at all attachments, and to make anew what was missing',
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
      registers,
    }),
    restored: new Counter({
      name: 'weft_repair_restored_total',
      help: "Plugins' parts of attachments that were made anew",
      labelNames: ['plugin'],
      registers,
    }),
    takenBack: new Counter({
      name: 'weft_repair_taken_back_total',
      help: 'Attachments whose parts were removed again because they had gone meanwhile',
      registers,
    }),
    failures: new Counter({
      name: 'weft_repair_failures_total',
      help: 'What could not be looked at, made anew or taken back',
      registers,
    }),
  };
}
