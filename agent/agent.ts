import {isDeepStrictEqual} from 'node:util';
import type {Subject} from './http/server.ts';
import type {AgentConfig} from './config.ts';
import type {AgentContext, AgentModule} from './module.ts';
import type {ModuleRow} from './modules.ts';

/** A node agent: its modules, as one. */
export interface Agent extends Subject {
  /** Starts the modules in order. If one throws, those before it are stopped, and its error is thrown. */
  start(): Promise<void>;
  /** Stops them in reverse; goes on after an error, and logs it. */
  stop(): Promise<void>;
  /** Takes a new configuration. What a module does not take is logged; it goes on as it was. */
  reload(config: AgentConfig): Promise<void>;
}

export interface AgentOptions {
  readonly rows: readonly ModuleRow[];
  readonly context: AgentContext;
  /** For `status`. */
  readonly about: Readonly<Record<string, unknown>>;
}

interface Running {
  readonly row: ModuleRow;
  readonly module: AgentModule;
}

/** Puts the modules that the configuration asks for together; nothing is started. */
export function createAgent({rows, context, about}: AgentOptions): Agent {
  const {log, metrics} = context;
  let config = context.config;
  let state: 'starting' | 'running' | 'stopping' = 'starting';
  let running: readonly Running[] = [];
  /** Start, reload and stop happen one after the other. */
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = last.then(work);
    last = turn.catch(() => {});
    return turn;
  };

  async function startOne(row: ModuleRow): Promise<void> {
    const module = row.create({...context, config});
    // Seen by `status` and `notReady` while it starts.
    running = inOrder(rows, [...running, {row, module}]);
    try {
      await module.start();
      log.info({module: module.name}, 'started');
      if (state === 'running') module.allStarted?.();
    } catch (error) {
      running = running.filter((each) => each.module !== module);
      forgetFigures(row);
      throw error;
    }
  }

  /** A module that is made anew has figures of the same names. */
  function forgetFigures({name}: ModuleRow): void {
    for (const {name: figure} of metrics.getMetricsAsArray()) {
      if (figure.startsWith(`weft_${name}_`)) metrics.removeSingleMetric(figure);
    }
  }

  async function stopOne({module, row}: Running): Promise<void> {
    try {
      await module.stop();
      log.info({module: module.name}, 'stopped');
    } catch (error) {
      log.error({error, module: module.name}, 'could not stop');
    }
    running = running.filter((each) => each.module !== module);
    forgetFigures(row);
  }

  async function stopAll(): Promise<void> {
    for (const each of running.toReversed()) await stopOne(each);
  }

  async function reloadOne(row: ModuleRow, before: AgentConfig): Promise<void> {
    const current = running.find((each) => each.row === row);
    const isWanted = row.isWanted(config);
    if (!current) return isWanted ? startOne(row) : undefined;
    if (!isWanted) return stopOne(current);
    if (current.module.reload) return current.module.reload(config);
    if (isDeepStrictEqual(before[row.name], config[row.name])) return;
    await stopOne(current);
    await startOne(row);
  }

  return {
    metrics,
    start: () =>
      inTurn(async () => {
        try {
          for (const row of rows) if (row.isWanted(config)) await startOne(row);
        } catch (error) {
          await stopAll();
          throw error;
        }
        state = 'running';
        for (const {module} of running) module.allStarted?.();
      }),
    stop() {
      state = 'stopping';
      return inTurn(stopAll);
    },
    reload: (next) =>
      inTurn(async () => {
        const before = config;
        config = next;
        for (const row of rows) {
          try {
            await reloadOne(row, before);
          } catch (error) {
            log.error({error, module: row.name}, 'the new configuration was not taken');
          }
        }
      }),
    async reconcile() {
      for (const {module} of running) await module.reconcile?.();
    },
    notReady() {
      const reasons = running.flatMap(({module}) =>
        module.notReady().map((reason) => `${module.name}: ${reason}`),
      );
      return state === 'running' ? reasons : [`the agent is ${state}`, ...reasons];
    },
    status() {
      const modules = running.map(({module}) => [module.name, module.status()] as const);
      const notReady = this.notReady();
      return {...about, ready: notReady.length === 0, notReady, modules: Object.fromEntries(modules)};
    },
  };
}

function inOrder(rows: readonly ModuleRow[], running: readonly Running[]): readonly Running[] {
  return rows.flatMap((row) => running.filter((each) => each.row === row));
}
