import {parseSync} from 'oxc-parser';

/** A node of an ESTree; `start` and `end` are offsets in the source. */
interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly async?: boolean;
  readonly [key: string]: unknown;
}

interface Edit {
  readonly at: number;
  /** How many characters go. */
  readonly length: number;
  readonly text: string;
}

/**
 * A source in which V8 compiles what is inside of the listed functions together with them: a function in parentheses is taken
 * for one that is called at once. Private methods become ones with an underscore, which can be reached by their name. Lists
 * as in precompile.ts, with `Class.#method` for a private one.
 */
export function makeEager(file: string, source: string, listed: readonly string[]): string {
  const names = new Set(listed);
  const edits: Edit[] = [];
  const {program, errors} = parseSync(file, source);
  if (errors.length > 0) throw new Error(`${file} cannot be parsed: ${errors[0]!.message}`);
  for (const statement of program.body as unknown as readonly Node[]) {
    const declared = (statement['declaration'] ?? statement) as Node | undefined;
    if (declared?.type === 'FunctionDeclaration') {
      if (names.has(nameOf(declared['id']))) parenthesize(declared['body'], edits);
    } else if (declared?.type === 'VariableDeclaration') {
      for (const each of declared['declarations'] as readonly Node[])
        if (names.has(nameOf(each['id']))) parenthesize(skipOuter(each['init']), edits);
    } else if (declared?.type === 'ClassDeclaration') {
      openClass(declared, names, edits);
    }
  }
  let text = source;
  for (const {at, length, text: put} of edits.toSorted((a, b) => b.at - a.at))
    text = text.slice(0, at) + put + text.slice(at + length);
  return text;
}

/** The name under which a private method is found in a source made eager. */
export function reachableName(name: string): string {
  return name.replace('#', '_');
}

function openClass(declared: Node, names: ReadonlySet<string>, edits: Edit[]): void {
  const owner = nameOf(declared['id']);
  const opened = new Set<string>();
  for (const member of (declared['body'] as Node)['body'] as readonly Node[]) {
    if (member.type !== 'MethodDefinition') continue;
    const key = member['key'] as Node;
    const isPrivate = key.type === 'PrivateIdentifier';
    const name = `${owner}.${isPrivate ? '#' : ''}${nameOf(key)}`;
    if (!names.has(name)) continue;
    if (isPrivate) opened.add(nameOf(key));
    parenthesize((member['value'] as Node)['body'], edits);
  }
  if (opened.size > 0) {
    checkNames(declared, opened);
    visit(declared, (node) => {
      if (node.type === 'PrivateIdentifier' && opened.has(nameOf(node)))
        edits.push({at: node.start, length: 1, text: '_'});
      return true;
    });
  }
}

/** Throws where another name for its private methods would make another class of it. */
function checkNames(declared: Node, opened: ReadonlySet<string>): void {
  const refuse = (why: string) => {
    throw new Error(`${nameOf(declared['id'])} ${why}: take its private methods from build/precompiled.json`);
  };
  if (declared['superClass'] !== null) refuse('extends another class');
  visit(declared, (node) => {
    if (node.type === 'Identifier' && nameOf(node).startsWith('_') && opened.has(nameOf(node).slice(1)))
      refuse(`has the name ${nameOf(node)}`);
    if (node.type === 'BinaryExpression' && (node['left'] as Node).type === 'PrivateIdentifier')
      refuse('asks with "in" for a private name');
    return true;
  });
}

/** Puts every function expression below a node in parentheses. */
function parenthesize(below: unknown, edits: Edit[]): void {
  visit(below, (node) => {
    const isMethod = node['method'] === true || (node['kind'] !== undefined && node['kind'] !== 'init');
    if (isMethod && isNode(node['value'])) {
      parenthesize(node['value']['body'], edits);
      return false;
    }
    // It makes no difference for one that is async.
    if (/^(Arrow)?FunctionExpression$/.test(node.type) && node.async !== true)
      edits.push({at: node.start, length: 0, text: '('}, {at: node.end, length: 0, text: ')'});
    return true;
  });
}

/** What is inside of a constant's own function. */
function skipOuter(init: unknown): unknown {
  const node = init as Node | undefined;
  return node && /^(Arrow)?FunctionExpression$/.test(node.type) ? node['body'] : undefined;
}

function visit(value: unknown, enter: (node: Node) => boolean): void {
  if (Array.isArray(value)) for (const each of value) visit(each, enter);
  else if (isNode(value) && enter(value)) for (const part of Object.values(value)) visit(part, enter);
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}

function nameOf(node: unknown): string {
  const name = (node as {readonly name?: unknown} | undefined)?.name;
  return typeof name === 'string' ? name : '';
}
