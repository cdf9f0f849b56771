import type {Logger} from '../../lib/log.ts';

type Level = keyof Logger;
const levels: readonly Level[] = ['fatal', 'error', 'warn', 'info', 'debug', 'trace'];

/** A logger whose every line names the network. */
export function networkLog(log: Logger, network: string): Logger {
  const label =
    (level: Level) =>
    (facts: unknown, ...rest: unknown[]) => {
      if (typeof facts === 'string') log[level]({network}, facts);
      else log[level]({network, ...(facts as object)}, ...(rest as [string]));
    };
  return Object.fromEntries(levels.map((level) => [level, label(level)])) as unknown as Logger;
}
