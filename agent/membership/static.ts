import {createHash} from 'node:crypto';
import {readFileSync, statSync, watch, type FSWatcher} from 'node:fs';
import path from 'node:path';
import * as z from 'zod/mini';
import {absolutePath} from '../fields.ts';
import {parseStaticNetwork} from '../../lib/overlay/static-file.ts';
import type {Advertisement, Membership, MembershipContext, MembershipEvents, Snapshot} from './membership.ts';
import {Publisher} from './publisher.ts';

/** Keys of a membership of type `static`. */
export const staticKeys = {
  /** The description of the network: docs/membership.md. */
  file: absolutePath,
  /** How often the file is read without having been told of a change. */
  pollMs: z._default(z.int().check(z.gte(10)), 30_000),
};

export interface StaticConf {
  readonly file: string;
  readonly pollMs: number;
}

// An editor writes in several steps; what is half there would only be an error in the log.
const settleMs = 50;

/**
 * A membership that is written down in a file. Its directory is watched, because editors and ConfigMaps put another file
 * in its place. A description with an error changes nothing: the last good one stands and the state says what is wrong.
 */
export function createStaticMembership({file, pollMs}: StaticConf, context: MembershipContext): Membership {
  const {nodeId, network, log} = context;
  const publisher = new Publisher();
  let watched: {readonly watcher: FSWatcher; readonly inode: number} | undefined;
  let poll: NodeJS.Timeout | undefined;
  let settle: NodeJS.Timeout | undefined;
  let told = '';

  const read = (): Snapshot => {
    const text = readFileSync(file, 'utf8');
    const revision = createHash('sha256').update(text).digest('hex').slice(0, 16);
    if (revision === publisher.snapshot?.revision) return publisher.snapshot;
    const described = parseStaticNetwork(text, {name: network.name, source: file});
    const {form} = described.network;
    if (form !== network.form)
      throw new Error(
        `${file}: form: ${form}, but the network ${network.name} is configured as ${network.form}; make them one`,
      );
    const self = described.members.find(({id}) => id === nodeId);
    if (self === undefined)
      throw new Error(
        `${file}: nodes: none is named ${nodeId}, as this host is; add it, or set overlay.node to its name there`,
      );
    const peers = described.members.filter(({id}) => id !== nodeId);
    return {network: described.network, self, peers, revision};
  };

  const load = (): void => {
    try {
      const snapshot = read();
      if (snapshot !== publisher.snapshot) {
        log.info({file, revision: snapshot.revision, peers: snapshot.peers.length}, 'membership read');
        publisher.publish(snapshot);
      }
      publisher.enter({kind: 'ready'});
    } catch (error) {
      const {message} = error as Error;
      if (message !== publisher.state.reason) log.error({file, error}, 'membership cannot be used');
      publisher.enter(
        publisher.snapshot === undefined
          ? {kind: 'starting', reason: message}
          : {kind: 'stale', reason: `${message}; the last good description stands`},
      );
    }
  };

  const changed = (): void => {
    clearTimeout(settle);
    settle = setTimeout(load, settleMs);
  };

  // The directory itself may be missing, or be replaced by another of its name.
  const watchDirectory = (): void => {
    const directory = path.dirname(file);
    const inode = statSync(directory, {throwIfNoEntry: false})?.ino;
    if (inode === watched?.inode) return;
    watched?.watcher.close();
    watched = undefined;
    if (inode === undefined) return;
    try {
      const watcher = watch(directory, changed);
      watcher.on('error', () => watcher.close());
      watched = {watcher, inode};
    } catch (error) {
      log.warn({directory, error}, 'directory cannot be watched; its file is read by the clock');
    }
  };

  return {
    kind: 'static',
    get state() {
      return publisher.state;
    },
    start(events: MembershipEvents) {
      publisher.open(events);
      watchDirectory();
      poll = setInterval(() => {
        watchDirectory();
        load();
      }, pollMs);
      setImmediate(load);
    },
    advertise(self: Advertisement) {
      // The file says what peers believe of us; all that can be done here is to tell where it is wrong.
      const written = publisher.snapshot?.self;
      const differs =
        written !== undefined &&
        ([4, 6] as const).some(
          (family) =>
            self.macs[family] !== undefined &&
            written.macs[family] !== undefined &&
            written.macs[family] !== self.macs[family],
        );
      const saying = JSON.stringify([self.macs, written?.macs]);
      if (differs && saying !== told)
        log.warn({file, ours: self.macs, written: written.macs}, 'the file names another hardware address');
      told = saying;
    },
    setReady() {},
    reload: load,
    async relist() {
      load();
      return publisher.snapshot;
    },
    async close() {
      publisher.close();
      clearInterval(poll);
      clearTimeout(settle);
      watched?.watcher.close();
    },
  };
}
