import {existsSync, rmSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import type {Context} from '../command.ts';
import {fileNames, versionDir, type Layout} from './layout.ts';
import {activateProgram, checkAnswers, isComplete, removeOtherVersions, stageProgram} from './program.ts';
import {isStarting} from './starting.ts';
import {putInstalled, type Installed} from './state.ts';
import {giveUpName, takeName} from './names.ts';

/** Who read an old stub just before it was replaced starts the old program a moment later: so long it stays. */
const graceMs = 1000;
/** And so long at most while a process of it has still to load its native parts. */
const mostGraceMs = 15_000;

export interface Upgrade {
  readonly layout: Layout;
  readonly context: Context;
  /** How the host calls the plugin folder. */
  readonly hostBinDir: string;
  /** What stands under a name. */
  readonly contentOf: (name: string) => Buffer;
  readonly client: Installed['client'];
  readonly before: Installed | undefined;
  readonly confs: Installed['confs'];
}

/**
 * Puts this program's version into the plugin folder and leads every name to it. Plugins may be called all the time: each
 * name leads to the old version or to the new one, both complete. The new one has to answer before any name leads to
 * it, and once more through one of the names; if it does not, everything is as before, and the error says why.
 */
export async function upgrade(step: Upgrade): Promise<void> {
  const {layout, context, hostBinDir, contentOf, client, before, confs} = step;
  const {release, plugins, program} = context;
  const names = fileNames(plugins);
  const [probe = 'loopback'] = plugins;
  let isNewVersion = false;
  if (!isInPlace(layout, {context, before})) {
    const stage = stageProgram(layout, {program, version: release.version});
    try {
      checkAnswers(join(stage, 'weft'), ['--plugin', join(layout.binDir, probe)]);
    } catch (error) {
      rmSync(stage, {recursive: true, force: true});
      throw error;
    }
    isNewVersion = !existsSync(versionDir(layout, release.version));
    activateProgram(layout, {stage, version: release.version});
  }

  // Before the first name changes hands, so that an uninstall after a crash knows of all of them.
  const {version, id} = release;
  const installed = {version, id, client, confs};
  putInstalled(layout, {...installed, names: [...new Set([...(before?.names ?? []), ...names])]});
  const undo: (() => void)[] = [];
  try {
    for (const name of names) undo.push(takeName(layout, name, contentOf(name)));
    if (hostBinDir === layout.binDir) checkAnswers(join(layout.binDir, probe));
  } catch (error) {
    for (const step of undo.toReversed()) step();
    if (before === undefined) rmSync(layout.state, {force: true});
    else putInstalled(layout, before);
    if (isNewVersion) rmSync(versionDir(layout, version), {recursive: true, force: true});
    throw error;
  }

  for (const name of before?.names ?? []) if (!names.includes(name)) giveUpName(layout, name);
  putInstalled(layout, {...installed, names});
  if (before !== undefined && before.version !== version) {
    await sleep(graceMs);
    const old = versionDir(layout, before.version);
    for (const deadline = Date.now() + mostGraceMs; isStarting(old) && Date.now() < deadline;)
      await sleep(100);
  }
  removeOtherVersions(layout, version);
}

/** The very same build is there already: a DaemonSet that starts again need not write 120 MB. */
function isInPlace(layout: Layout, {context, before}: Pick<Upgrade, 'context' | 'before'>): boolean {
  const {program, release} = context;
  if (before?.version !== release.version || before.id !== release.id) return false;
  return isComplete(layout, {program, version: release.version});
}
