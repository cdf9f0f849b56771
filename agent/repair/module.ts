import {describeFailure} from '../../lib/cni/failure.ts';
import {NftMonitor, type NftRemoval} from '../../lib/netlink/nft/monitor.ts';
import {getGeneration} from '../../lib/netlink/nft/transaction.ts';
import {LinkWatch} from './link-watch.ts';
import type {AgentContext, AgentModule} from '../module.ts';
import type {ModuleRow} from '../modules.ts';
import {Attachments} from './attachments.ts';
import {defaultRepair, type RepairConf} from './conf.ts';
import {Journal} from './journal.ts';
import {createRepairMetrics} from './metrics.ts';
import {Repairer, type Look} from './repairer.ts';
import type {Plugins} from './repairs.ts';

/** Tables that plugins of ours have something in. */
const tables: ReadonlySet<string> = new Set(['weft', 'weft-firewall', 'nat', 'filter']);
/** As the kernel knows Node, and what is made of it. */
const nodeThread = 'MainThread';
/** An ADD that was under way when something was removed is noted by its runtime only at its end. */
const unknownForMs = 60_000;
const unknownEveryMs = 1000;
const retryMs = 5000;
/** How often nothing is looked at in a row because nothing of nftables changed: iptables-legacy is not seen by that. */
const mostSkips = 9;
/** What fails once may have met somebody else's change. */
const failuresUntilNotReady = 3;

/** The row of the module that makes anew what others removed of live containers. */
export function repairRow(plugins: Plugins): ModuleRow {
  return {
    name: 'repair',
    isWanted: ({repair}) => repair?.enabled ?? true,
    create: (context) => createRepair(context, context.config.repair ?? defaultRepair, plugins),
  };
}

function createRepair(context: AgentContext, conf: RepairConf, plugins: Plugins): AgentModule {
  const {host, log, config} = context;
  const pluginHost = plugins.openHost();
  const journal = new Journal(config.runDir);
  const attachments = new Attachments(conf.cacheDir, (file, error) =>
    log.warn({file, error: describeFailure(error)}, 'a note of a runtime cannot be read'),
  );
  let last: (Look & {readonly at: string}) | undefined;
  let failure: string | undefined;
  let failedInARow = 0;
  /** Of nftables, when everything was as it should be. */
  let goodGeneration: number | undefined;
  let skips = 0;
  const metrics = createRepairMetrics(context.metrics, () => last?.live ?? 0);
  const repairer = new Repairer({
    host,
    pluginHost,
    plugins: plugins.byName,
    attachments,
    journal,
    log,
    metrics,
  });
  let timer: NodeJS.Timeout | undefined;
  let dueAt = Infinity;
  let unknownUntil = 0;
  let isStopped = false;
  /** One thing happens at a time. */
  let turn: Promise<unknown> = Promise.resolve();
  const inTurn = (work: () => Promise<unknown>): Promise<unknown> => {
    turn = turn.then(work).catch((error: unknown) => {
      log.error({error}, 'repair');
    });
    return turn;
  };

  /** Has everything looked at in so many milliseconds, or earlier. */
  function lookIn(delayMs: number): void {
    const at = Date.now() + delayMs;
    if (isStopped || at >= dueAt) return;
    clearTimeout(timer);
    dueAt = at;
    timer = setTimeout(() => void inTurn(lookIfChanged), delayMs).unref();
  }

  /** Nothing can be missing where nothing was changed since all was there. */
  async function lookIfChanged(): Promise<void> {
    if (goodGeneration !== undefined && skips < mostSkips) {
      const generation = await getGeneration(pluginHost.nft).catch(() => undefined);
      if (generation === goodGeneration) {
        skips++;
        dueAt = Infinity;
        return lookIn(conf.intervalMs);
      }
    }
    await look();
  }

  async function look(): Promise<void> {
    if (isStopped) return;
    dueAt = Infinity;
    goodGeneration = undefined;
    skips = 0;
    const end = metrics.seconds.startTimer();
    try {
      // Asked before: what is changed meanwhile is looked at the next time.
      const generation = await getGeneration(pluginHost.nft).catch(() => undefined);
      last = {...(await repairer.look()), at: new Date().toISOString()};
      [failure] = last.failures;
      if (last.lacking + last.unknown + last.failures.length === 0) goodGeneration = generation;
      watch.follow(journal.list());
      if (last.unknown > 0 && Date.now() < unknownUntil) lookIn(unknownEveryMs);
      else lookIn(failure === undefined ? conf.intervalMs : Math.min(retryMs, conf.intervalMs));
    } catch (error) {
      failure = describeFailure(error);
      metrics.failures.inc();
      log.error({error: failure}, 'could not look at what is there of containers');
      lookIn(Math.min(retryMs, conf.intervalMs));
    } finally {
      failedInARow = failure === undefined ? 0 : failedInARow + 1;
      end();
    }
  }

  function suspect(): void {
    goodGeneration = undefined;
    unknownUntil = Date.now() + unknownForMs;
    lookIn(conf.delayMs);
  }

  function onRemoval(removal: NftRemoval): void {
    // What our own plugins remove, in processes of their own or in this one, is meant to go.
    if (removal.thread === nodeThread) return;
    if ([...removal.tables].some((name) => tables.has(name))) suspect();
  }

  const watch = new LinkWatch({
    onGone: (restored) => {
      void inTurn(async () => {
        if ((await repairer.takeBack(restored)) !== 'left') return;
        goodGeneration = undefined;
        unknownUntil = Date.now() + unknownForMs;
        lookIn(unknownEveryMs);
      });
    },
    onLost: suspect,
  });

  let monitor: NftMonitor | undefined;
  return {
    name: 'repair',
    async start() {
      journal.load();
      try {
        monitor = new NftMonitor({onRemoval, onResync: suspect});
      } catch (error) {
        // Without the right to listen, or on a kernel without nftables: the clock remains.
        log.warn({error}, 'what others remove is seen by the clock only');
      }
      unknownUntil = Date.now() + unknownForMs;
      lookIn(0);
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      monitor?.close();
      watch.close();
      await turn;
      pluginHost.close();
    },
    async reconcile() {
      await inTurn(look);
    },
    notReady: () => (failure !== undefined && failedInARow >= failuresUntilNotReady ? [failure] : []),
    status: () => ({
      attachments: last?.live ?? 0,
      restored: journal.size,
      ...(last && {lookedAt: last.at}),
      ...(failure !== undefined && {failure}),
    }),
  };
}
