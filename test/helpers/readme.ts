import {readFileSync} from 'node:fs';

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The page of a plugin. */
export function readmeOf(plugin: string): string {
  return read(`plugins/${plugin}/README.md`);
}

/** The first configuration that the page of a plugin shows. */
export function exampleOf(plugin: string): Record<string, unknown> {
  const example = /```json\n([^]*?)```/.exec(readmeOf(plugin))?.[1];
  if (example === undefined) throw new Error(`plugins/${plugin}/README.md shows no configuration`);
  return JSON.parse(example) as Record<string, unknown>;
}

/** Keys of the schema in a plugin's conf.ts that its page does not name, apart from those every plugin has. */
export function unnamedKeys(plugin: string): string[] {
  const source = read(`plugins/${plugin}/conf.ts`);
  const end = source.indexOf('/**', source.indexOf('prepareShape('));
  const schema = source.slice(source.lastIndexOf('import '), end).replaceAll(/\/\/.*/g, '');
  const keys = [...schema.matchAll(/(\w+): /g)].map((match) => match[1]!);
  const everywhere = new Set(['args', 'cni', 'runtimeConfig', 'ipam', 'type']);
  const page = readmeOf(plugin);
  return keys.filter(
    (key) => !everywhere.has(key) && !page.includes(`\`${key}`) && !page.includes(`.${key}`),
  );
}
