import {readFileSync} from 'node:fs';
import {dirname, relative, resolve} from 'node:path';
import * as esbuild from 'esbuild';

import {root} from './paths.ts';

/*
 * What is in the start-up snapshot costs every call, whatever it is called for. So it holds the plugins of the usual
 * chains; each of the others is a script of its own that is evaluated when it is called. Such a script shares the modules of
 * the snapshot: an error of lib/cni is the same class in both.
 */

const usual = new Set(['bridge', 'firewall', 'host-local', 'loopback', 'portmap', 'tuning']);

export function isSeldom(folder: string): boolean {
  return !usual.has(folder);
}

/** What scripts use of the snapshot: by module, as imported or as a file of the repository, the names they use of it. */
export type Shared = ReadonlyMap<string, ReadonlySet<string>>;

/** The script of one plugin, and what it shares with the snapshot, whose files are `snapshotFiles`. */
export async function bundleSeldom(
  folder: string,
  {
    snapshotFiles,
    options,
  }: {readonly snapshotFiles: ReadonlySet<string>; readonly options: esbuild.BuildOptions},
): Promise<{readonly text: string; readonly shared: Shared}> {
  const shared = new Map<string, Set<string>>();
  const {outputFiles} = await esbuild.build({
    ...options,
    write: false,
    entryPoints: [`plugins/${folder}/plugin.ts`],
    plugins: [shareModules(snapshotFiles, shared), ...(options.plugins ?? [])],
  });
  return {text: outputFiles[0]!.text, shared};
}

function shareModules(snapshotFiles: ReadonlySet<string>, shared: Map<string, Set<string>>): esbuild.Plugin {
  return {
    name: 'share-modules',
    setup(build) {
      build.onResolve({filter: /^(\.|zod)/}, async ({path, importer, namespace, kind}) => {
        if (kind !== 'import-statement' || namespace !== 'file' || importer.includes('/node_modules/'))
          return undefined;
        const file = path.startsWith('.') ? relative(root, resolve(dirname(importer), path)) : path;
        if (path.startsWith('.') && !snapshotFiles.has(file)) return undefined;
        const names = shared.get(file) ?? new Set();
        shared.set(file, names);
        // A package's types have names too, after the same prefix.
        const exported = path.startsWith('.') ? undefined : ((await import(path)) as object);
        for (const name of listImports(readFileSync(importer, 'utf8'), path))
          if (!exported || name in exported) names.add(name);
        return {path: file, namespace: 'shared', sideEffects: false};
      });
      build.onLoad({filter: /./, namespace: 'shared'}, ({path}) => ({
        contents: `module.exports = shared[${JSON.stringify(path)}];`,
      }));
    },
  };
}

/** The names that a source uses of a module: those of `import {a, b as c}`, or what follows `z.` after `import * as z`. */
export function listImports(source: string, module: string): readonly string[] {
  const from = `\\s+from\\s+'${module.replaceAll(/[.*+?^$()[\]{}|]/g, String.raw`\$&`)}'`;
  const lists = source.matchAll(new RegExp(`^import\\s+\\{([^}]*)\\}${from}`, 'gm'));
  const named = [...lists].flatMap(([, list = '']) =>
    list
      .split(',')
      .map((each) => each.trim())
      .filter((each) => each !== '' && !each.startsWith('type '))
      .map((each) => each.split(/\s+as\s+/)[0]!),
  );
  const all = [...source.matchAll(new RegExp(`^import\\s+\\*\\s+as\\s+(\\w+)${from}`, 'gm'))];
  return [
    ...named,
    ...all.flatMap(([, prefix]) =>
      [...source.matchAll(new RegExp(`\\b${prefix}\\.(\\w+)`, 'g'))].map(([, name]) => name!),
    ),
  ];
}

/** A module of the snapshot that keeps what scripts share: the source of `weft:shared`. */
export function formatShared(all: readonly Shared[]): string {
  const merged = new Map<string, Set<string>>();
  for (const [file, names] of all.flatMap((shared) => [...shared]))
    merged.set(file, new Set([...(merged.get(file) ?? []), ...names]));
  const modules = [...merged].sort(([one], [other]) => (one < other ? -1 : 1));
  const imports = modules.map(([file, names], i) => {
    const list = [...names].sort().map((name) => `${name} as ${name}_${i}`);
    return `import {${list.join()}} from ${JSON.stringify(file.endsWith('.ts') ? `./${file}` : file)};`;
  });
  const entries = modules.map(([file, names], i) => {
    const list = [...names].sort().map((name) => `${name}: ${name}_${i}`);
    return `${JSON.stringify(file)}: {${list.join()}}`;
  });
  return `${imports.join('\n')}\nexport const shared = {${entries.join(',\n')}};`;
}
