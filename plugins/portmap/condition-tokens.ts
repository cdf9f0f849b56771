/** The words of a condition, one after the other. */
export class TokenReader {
  readonly #tokens: readonly string[];
  #at = 0;

  constructor(text: string) {
    this.#tokens = text.match(/"[^"]*"|!=|==|[{},&]|[^\s{},&"=!]+|\S/g) ?? [];
  }

  get atEnd(): boolean {
    return this.#at >= this.#tokens.length;
  }

  /** The next word, left where it is. */
  peek(): string | undefined {
    return this.#tokens[this.#at];
  }

  /** Takes the next word; throws at the end. */
  next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw new Error(`something is missing after "${this.#tokens.at(-1) ?? ''}"`);
    return token;
  }

  /** Takes the next word if it is one of these. */
  take(...words: readonly string[]): string | undefined {
    const token = this.peek();
    if (token === undefined || !words.includes(token)) return undefined;
    this.#at++;
    return token;
  }

  /** Takes the next word, which has to be one of these. */
  expect<W extends string>(...words: readonly W[]): W {
    const token = this.next();
    if ((words as readonly string[]).includes(token)) return token as W;
    throw new Error(`expected ${words.map((word) => `"${word}"`).join(' or ')}, found "${token}"`);
  }
}
