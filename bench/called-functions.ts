import {existsSync, readFileSync} from 'node:fs';
import {root} from '../build/paths.ts';

export interface CalledFunction {
  /** From the repository's root. */
  readonly file: string;
  /** `name` of what is declared at the top of the file, `Class.method` for a method. */
  readonly name: string;
}

interface Declaration extends CalledFunction {
  readonly start: number;
}

/** The functions of a script that ran, by V8's logs (--log-function-events): where in their files they are declared. */
export function findCalledFunctions(script: string, logs: readonly string[]): readonly CalledFunction[] {
  const starts = new Set(logs.flatMap((log) => listStarts(log)));
  const declarations = listDeclarations(script);
  const found = new Map<string, CalledFunction>();
  for (const start of starts) {
    const declaration = declarations.findLast((each) => each.start <= start);
    if (declaration && declaration.name !== '')
      found.set(`${declaration.file} ${declaration.name}`, {file: declaration.file, name: declaration.name});
  }
  return [...found.values()];
}

/** Where functions begin that were compiled, which is when they are called, or called for the first time: of our own script, whose name ends with `weft.cjs`. */
function listStarts(log: string): readonly number[] {
  const id = /^script-details,(\d+),[^,\n]*weft\.cjs,/m.exec(log)?.[1];
  if (id === undefined) throw new Error('a log of V8 does not name the script');
  return [
    ...log.matchAll(new RegExp(`^function,(?:interpreter|first-execution[^,]*),${id},(\\d+),`, 'gm')),
  ].map(([, start]) => Number(start));
}

/** What is declared at the top of each file, and the methods of classes, in the order of the script. */
function listDeclarations(script: string): readonly Declaration[] {
  const declarations: Declaration[] = [];
  let [file, indent, owner, at] = ['', '', '', 0];
  for (const line of script.split('\n')) {
    const path = /^ *\/\/ ([\w./@-]+\.[cm]?[jt]s)$/.exec(line)?.[1];
    if (path !== undefined && existsSync(`${root}/${path}`))
      [file, indent, owner] = [path.replace(/^.*node_modules\//, 'node_modules/'), '', ''];
    // esbuild puts a file in CommonJS into a function, two levels deeper.
    else if (/^var \w+ = __commonJS\(/.test(line)) indent = '    ';
    const [, top] =
      new RegExp(`^${indent}(?:async )?(?:function\\*?|class|var|const|let) (\\w+)`).exec(line) ?? [];
    const [, method] =
      new RegExp(`^${indent}  (?:static |async |get |set |\\*)*(#?\\w+)\\(.*\\{$`).exec(line) ?? [];
    if (top !== undefined && file !== '') {
      const name = originalName(file, top);
      owner = / class\b|^ *class /.test(line) && name !== undefined ? name : '';
      // Where nothing can be named (what was renamed, or made by the bundler) nothing is claimed.
      declarations.push({file, name: name ?? '', start: at});
    } else if (method !== undefined && owner !== '') {
      declarations.push({file, name: `${owner}.${method}`, start: at});
    }
    at += line.length + 1;
  }
  return declarations;
}

const sources = new Map<string, string>();

/** A name as its file has it: the bundler puts a number behind one that another file has too. */
function originalName(file: string, name: string): string | undefined {
  const source = sources.get(file) ?? readFileSync(`${root}/${file}`, 'utf8');
  sources.set(file, source);
  return [name, name.replace(/\d+$/, '')].find((each) =>
    new RegExp(`^(?:export )?(?:async )?(?:function\\*?|class|const|var|let) ${each}\\b`, 'm').test(source),
  );
}
