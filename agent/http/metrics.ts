import {collectDefaultMetrics, Gauge, Registry} from 'prom-client';

/** A registry with the figures of the process and of this build. */
export function createMetrics({version, id}: {readonly version: string; readonly id: string}): Registry {
  const metrics = new Registry();
  collectDefaultMetrics({register: metrics, prefix: 'weft_'});
  const info = new Gauge({
    name: 'weft_build_info',
    help: 'Which weft this is; always 1',
    labelNames: ['version', 'build'],
    registers: [metrics],
  });
  info.set({version, build: id}, 1);
  return metrics;
}
