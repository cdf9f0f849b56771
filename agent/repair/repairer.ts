import {describeFailure} from '../../lib/cni/failure.ts';
import {isOwnTag} from '../../lib/cni/owner.ts';
import type {Host} from '../../lib/host.ts';
import type {Logger} from '../../lib/log.ts';
import {findLink, listLinks, type Link} from '../../lib/netlink/route/link.ts';
import {isEndOf} from './attachments.ts';
import type {Attached, Attachments} from './attachments.ts';
import type {Journal, Restored} from './journal.ts';
import {rememberingLists} from './memo.ts';
import type {RepairMetrics} from './metrics.ts';
import {sharesOf, type Plugins, type Share} from './repairs.ts';

export interface RepairerOptions {
  readonly host: Host;
  readonly plugins: Plugins['byName'];
  /** What plugins are given. */
  readonly pluginHost: Host;
  readonly attachments: Attachments;
  readonly journal: Journal;
  readonly log: Logger;
  readonly metrics: RepairMetrics;
}

/** What one look found. */
export interface Look {
  /** Attachments whose interface is there. */
  readonly live: number;
  /** Interfaces of ours that no runtime has noted (yet): their ADD is under way, say. */
  readonly unknown: number;
  /** Parts of attachments that were not as they should be. */
  readonly lacking: number;
  /** What could not be made anew, one sentence each. */
  readonly failures: readonly string[];
}

// So many are looked at together: their questions travel in few datagrams.
const together = 16;

/**
 * Makes anew what others removed of live attachments. Only of those whose interface on the host is there, and bears their
 * name; afterwards it is looked at again, and what belongs to an attachment that has gone meanwhile is taken back.
 */
export class Repairer {
  readonly #options: RepairerOptions;
  readonly #known = new WeakMap<Attached, readonly Share[]>();

  constructor(options: RepairerOptions) {
    this.#options = options;
  }

  /** Looks at everything, and repairs it. Throws when it cannot look. */
  async look(): Promise<Look> {
    const {host, pluginHost, attachments, journal} = this.#options;
    // In this order: a note that is read after its interface was seen is not of an earlier one.
    const links = new Map((await listLinks(host.rt)).flatMap((link) => entryOf(link)));
    const noted = attachments.list();
    const live = noted.flatMap((attached): Restored[] => {
      const link = links.get(attached.key);
      return link && isEndOf(attached, link) ? [{attached, link}] : [];
    });
    const alive = new Set(live.map(({attached}) => attached.key));
    const failures: string[] = [];
    for (const restored of journal.list()) {
      const {key} = restored.attached;
      // Where it was made anew under the same names, what both have is made again below, once its runtime has noted it.
      if (links.get(key)?.ifindex === restored.link.ifindex) continue;
      const isRenewed = alive.has(key);
      if (isRenewed || !links.has(key)) failures.push(...(await this.#takeBack(restored, {isRenewed})));
    }
    const once = rememberingLists(pluginHost);
    let lacking = 0;
    for (let at = 0; at < live.length; at += together) {
      const some = live.slice(at, at + together).map(async (restored) => this.#repair(restored, once));
      for (const repaired of await Promise.all(some)) {
        failures.push(...repaired.failures);
        lacking += repaired.lacking;
      }
    }
    const unknown = [...links.keys()].filter((key) => !alive.has(key)).length;
    return {live: live.length, unknown, lacking, failures};
  }

  /**
   * Removes what was made anew of an attachment, if its interface has gone. `left`: it could not be done, or the container
   * has another interface, which `look` has to see.
   */
  async takeBack(restored: Restored): Promise<'there' | 'done' | 'left'> {
    const state = await this.#find(restored);
    if (state !== 'gone') return state === 'there' ? 'there' : 'left';
    return (await this.#takeBack(restored, {isRenewed: false})).length === 0 ? 'done' : 'left';
  }

  /** With `isRenewed` also what an attachment of the same names has by now: it is made again behind this. */
  async #takeBack(restored: Restored, {isRenewed}: {readonly isRenewed: boolean}): Promise<string[]> {
    const {pluginHost, journal, log, metrics} = this.#options;
    const {attached} = restored;
    const isGone = async () => {
      const state = await this.#find(restored);
      return state === 'gone' || (isRenewed && state === 'renewed');
    };
    const failures: string[] = [];
    for (const {plugin, repair, call} of this.#shares(attached)) {
      try {
        await repair.takeBack(call, pluginHost, isGone);
      } catch (error) {
        failures.push(this.#failed(`take back what ${plugin} had`, attached, error));
      }
    }
    if (failures.length > 0 || !(await isGone())) return failures;
    journal.delete(restored);
    metrics.takenBack.inc();
    log.info({...attached.owner}, 'took back what had been made anew: the container has gone');
    return [];
  }

  async #repair(restored: Restored, once: Host): Promise<Pick<Look, 'lacking' | 'failures'>> {
    const {attached} = restored;
    const failures: string[] = [];
    const lacking: Share[] = [];
    for (const share of this.#shares(attached)) {
      try {
        const missing = await share.repair.missing(share.call, once);
        if (missing.length === 0) continue;
        lacking.push(share);
        this.#options.log.debug({...attached.owner, plugin: share.plugin, missing}, 'something was removed');
      } catch (error) {
        failures.push(this.#failed(`look at what ${share.plugin} made`, attached, error));
      }
    }
    if (lacking.length > 0 && (await this.#find(restored)) === 'there')
      failures.push(...(await this.#restore(restored, lacking)));
    return {lacking: lacking.length, failures};
  }

  async #restore(restored: Restored, lacking: readonly Share[]): Promise<string[]> {
    const {pluginHost, journal, log, metrics} = this.#options;
    const {attached} = restored;
    const failures: string[] = [];
    journal.put(restored);
    for (const {plugin, repair, call} of lacking) {
      try {
        await repair.restore(call, pluginHost);
        metrics.restored.inc({plugin});
        log.info({...attached.owner, plugin}, 'made anew what somebody had removed');
      } catch (error) {
        failures.push(this.#failed(`make anew what ${plugin} had made`, attached, error));
      }
    }
    // Where it is there under another number, the next look takes back.
    if ((await this.#find(restored)) === 'gone')
      failures.push(...(await this.#takeBack(restored, {isRenewed: false})));
    return failures;
  }

  /** Whether the interface is there, is gone, or was made anew under the same names. */
  async #find({attached, link}: Restored): Promise<'there' | 'gone' | 'renewed'> {
    const {rt} = this.#options.host;
    const [same, named] = await Promise.all([
      findLink(rt, {ifindex: link.ifindex}),
      findLink(rt, {name: link.name}),
    ]);
    if (isOwnTag(same?.alias, attached.owner)) return 'there';
    return isOwnTag(named?.alias, attached.owner) ? 'renewed' : 'gone';
  }

  #shares(attached: Attached): readonly Share[] {
    const known = this.#known.get(attached);
    if (known) return known;
    const {plugins, log} = this.#options;
    try {
      const shares = sharesOf(plugins, attached, log);
      this.#known.set(attached, shares);
      return shares;
    } catch (error) {
      this.#failed('understand the configuration', attached, error);
      return [];
    }
  }

  #failed(what: string, {owner}: Attached, error: unknown): string {
    const {log, metrics} = this.#options;
    metrics.failures.inc();
    const text = describeFailure(error);
    log.warn({...owner, error: text}, `could not ${what}`);
    return `container ${owner.containerId} of network "${owner.network}": could not ${what}: ${text}`;
  }
}

/** By the key that an alias of ours begins with. */
function entryOf({name, ifindex, mac, alias}: Link): [string, Restored['link'] & {readonly mac: string}][] {
  const key = /^([0-9a-f]{16}-[0-9a-f]{16}),/.exec(alias ?? '')?.[1];
  return key === undefined ? [] : [[key, {name, ifindex, mac}]];
}
