import {Counter, Gauge, type Registry} from 'prom-client';
import type {ForwarderFigures} from '../dns/forwarder.ts';
import {rcode} from '../dns/constants.ts';

const codeNames = new Map<number, string>([
  [rcode.noError, 'NOERROR'],
  [rcode.formatError, 'FORMERR'],
  [rcode.serverFailure, 'SERVFAIL'],
  [rcode.nameError, 'NXDOMAIN'],
  [rcode.notImplemented, 'NOTIMP'],
  [rcode.refused, 'REFUSED'],
]);

/** What the module counts; `read` gives what others count, when it is asked for. */
export interface NamesFigures {
  readonly attachments: number;
  readonly names: number;
  readonly forwarder: ForwarderFigures;
}

/** The module's figures. Gives what counts an answer. */
export function createNamesMetrics(registry: Registry, read: () => NamesFigures): (code: number) => void {
  const registers = [registry];
  const answers = new Counter({
    name: 'weft_names_answers_total',
    help: 'Answers given to containers, by response code',
    labelNames: ['rcode'],
    registers,
  });
  addGauge(registry, 'attachments', 'Attached containers that have a server', () => read().attachments);
  addGauge(registry, 'entries', 'Entries of the table of names', () => read().names);
  const forwards = [
    ['asked', 'Questions sent to other servers'],
    ['failed', 'Questions that no other server answered'],
    ['refused', 'Questions not passed on because too many waited'],
    ['cacheHits', 'Questions answered from what other servers said before'],
    ['staleAnswers', 'Old answers given because no other server answered'],
  ] as const;
  for (const [key, help] of forwards) {
    const snake = key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    addGauge(registry, `forward_${snake}`, help, () => read().forwarder[key]);
  }
  return (code) => answers.inc({rcode: codeNames.get(code) ?? String(code)});
}

function addGauge(registry: Registry, name: string, help: string, read: () => number): Gauge {
  return new Gauge({
    name: `weft_names_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}
