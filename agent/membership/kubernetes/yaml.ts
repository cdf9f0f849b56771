// As much of YAML as configurations that programs write (kubeconfig) and simple manifests use: block mappings and
// sequences, plain and quoted scalars, literal blocks, JSON for what is in one line. No anchors, tags or folded text.

export type Yaml = string | number | boolean | null | readonly Yaml[] | {readonly [key: string]: Yaml};

interface Line {
  readonly indent: number;
  readonly text: string;
  readonly number: number;
}

/** Reads the documents of a text. Throws an Error that names the line of what it does not understand. */
export function parseYaml(text: string): readonly Yaml[] {
  const documents: Line[][] = [[]];
  const raw = text.split('\n');
  for (const [index, whole] of raw.entries()) {
    if (/^---(\s|$)/.test(whole)) {
      documents.push([]);
      continue;
    }
    const indent = /^ */.exec(whole)![0].length;
    documents.at(-1)!.push({indent, text: whole.slice(indent).trimEnd(), number: index + 1});
  }
  return documents
    .map((lines) => new Reader(lines))
    .filter((reader) => !reader.isAtEnd())
    .map((reader) => reader.readDocument());
}

class Reader {
  readonly #lines: readonly Line[];
  #at = 0;

  constructor(lines: readonly Line[]) {
    this.#lines = lines;
  }

  isAtEnd(): boolean {
    return this.#peek() === undefined;
  }

  readDocument(): Yaml {
    const value = this.#readBlock(this.#peek()!.indent);
    const rest = this.#peek();
    if (rest !== undefined) throw unreadable(rest, 'is indented less than what it belongs to');
    return value;
  }

  /** The next line that says something. */
  #peek(): Line | undefined {
    for (; this.#at < this.#lines.length; this.#at++) {
      const line = this.#lines[this.#at]!;
      if (line.text !== '' && !line.text.startsWith('#')) return line;
    }
    return undefined;
  }

  #readBlock(indent: number): Yaml {
    const line = this.#peek()!;
    if (isItem(line.text)) return this.#readSequence(indent);
    if (keyOf(line.text) !== undefined) return this.#readMapping(indent);
    this.#at++;
    return readScalar(line, line.text);
  }

  #readSequence(indent: number): Yaml {
    const items: Yaml[] = [];
    for (let line = this.#peek(); line?.indent === indent && isItem(line.text); line = this.#peek()) {
      const inner = line.text.slice(1).trimStart();
      if (inner === '' || inner.startsWith('#')) {
        this.#at++;
        items.push(this.#readNested(indent, {mayBeAtSameIndent: false}));
        continue;
      }
      if (literal.test(inner)) {
        this.#at++;
        items.push(this.#readLiteral(indent, inner.startsWith('|-')));
        continue;
      }
      // "- key: value" begins a mapping that goes on two or more columns further in.
      const column = indent + (line.text.length - inner.length);
      (this.#lines as Line[])[this.#at] = {...line, indent: column, text: inner};
      items.push(this.#readBlock(column));
    }
    return items;
  }

  #readMapping(indent: number): Yaml {
    const entries: [string, Yaml][] = [];
    for (let line = this.#peek(); line?.indent === indent && !isItem(line.text); line = this.#peek()) {
      const found = keyOf(line.text);
      if (found === undefined) throw unreadable(line, 'is no "key: value"');
      this.#at++;
      entries.push([found.key, this.#readValue(line, found.rest)]);
    }
    const next = this.#peek();
    if (next !== undefined && next.indent > indent)
      throw unreadable(next, 'is indented more than its neighbours');
    return Object.fromEntries(entries);
  }

  #readValue(line: Line, rest: string): Yaml {
    if (rest === '' || rest.startsWith('#')) return this.#readNested(line.indent, {mayBeAtSameIndent: true});
    if (literal.test(rest)) return this.#readLiteral(line.indent, rest.startsWith('|-'));
    return readScalar(line, rest);
  }

  #readNested(indent: number, {mayBeAtSameIndent}: {readonly mayBeAtSameIndent: boolean}): Yaml {
    const next = this.#peek();
    if (next === undefined) return null;
    const isList = mayBeAtSameIndent && next.indent === indent && isItem(next.text);
    return next.indent > indent || isList ? this.#readBlock(next.indent) : null;
  }

  #readLiteral(indent: number, isStripped: boolean): string {
    const lines: string[] = [];
    let inner: number | undefined;
    for (; this.#at < this.#lines.length; this.#at++) {
      const line = this.#lines[this.#at]!;
      if (line.text === '') {
        lines.push('');
        continue;
      }
      if (line.indent <= indent) break;
      inner ??= line.indent;
      lines.push(`${' '.repeat(line.indent - inner)}${line.text}`);
    }
    while (lines.at(-1) === '') lines.pop();
    return isStripped ? lines.join('\n') : `${lines.join('\n')}\n`;
  }
}

const literal = /^\|-?(\s+#.*)?$/;

function isItem(text: string): boolean {
  return text === '-' || text.startsWith('- ');
}

function keyOf(text: string): {readonly key: string; readonly rest: string} | undefined {
  const match =
    /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#{}[\],&*!|>%@`-][^#]*?|-[^\s#][^#]*?)\s*:(?:\s+(.*))?$/.exec(
      text,
    );
  if (match === null) return undefined;
  const [, key = '', rest = ''] = match;
  return {key: /^["']/.test(key) ? unquote(key) : key, rest};
}

function unquote(text: string): string {
  if (text.startsWith("'")) return text.slice(1, -1).replaceAll("''", "'");
  return JSON.parse(text) as string;
}

function readScalar(line: Line, rest: string): Yaml {
  const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')(\s+#.*)?$/.exec(rest);
  if (quoted !== null) {
    try {
      return unquote(quoted[1]!);
    } catch {
      throw unreadable(line, 'has an escape that JSON does not know');
    }
  }
  if (/^[[{]/.test(rest)) {
    try {
      return JSON.parse(rest) as Yaml;
    } catch {
      throw unreadable(line, 'has a value in brackets that is not JSON');
    }
  }
  if (/^[&*!|>%@`"']/.test(rest))
    throw unreadable(line, 'uses what this reader does not know (anchors, tags, folded text)');
  const plain = rest.replace(/\s+#.*$/, '');
  if (plain === 'true' || plain === 'false') return plain === 'true';
  if (plain === 'null' || plain === '~') return null;
  return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(plain) ? Number(plain) : plain;
}

function unreadable({number, text}: Line, why: string): Error {
  return new Error(`line ${number} (${JSON.stringify(text.slice(0, 60))}) ${why}`);
}
