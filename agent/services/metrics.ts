import {Gauge, Histogram, type Registry} from 'prom-client';

export interface ServicesFigures {
  readonly services: number;
  readonly frontends: number;
  readonly transactions: number;
}

/** The module's figures; gives what notes how long a change took, in seconds. */
export function createServicesMetrics(
  registry: Registry,
  read: () => ServicesFigures,
): {readonly observe: (seconds: number) => void} {
  const registers = [registry];
  const seconds = new Histogram({
    name: 'weft_services_change_seconds',
    help: 'From the first of some changes to their rules in the kernel',
    buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3],
    registers,
  });
  const gauges = [
    ['services', 'Services that are known'],
    ['frontends', 'Addresses, protocols and ports that have rules'],
    ['transactions', 'Transactions of nftables made'],
  ] as const;
  for (const [key, help] of gauges) addGauge(registry, `weft_services_${key}`, help, () => read()[key]);
  return {observe: (value) => seconds.observe(value)};
}

function addGauge(registry: Registry, name: string, help: string, read: () => number): Gauge {
  return new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}
