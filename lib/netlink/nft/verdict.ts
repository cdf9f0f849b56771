import {attrs} from '../attrs.ts';
import {bytes, s32be, string} from '../codec.ts';
import type {Values} from '../attrs.ts';

/** linux/netfilter/nf_tables.h, enum nft_verdicts, and linux/netfilter.h, NF_*. */
const codes = {drop: 0, accept: 1, continue: -1, break: -2, jump: -3, goto: -4, return: -5} as const;

/** What a rule or an element of a verdict map decides. */
export type Verdict =
  | {readonly kind: 'drop' | 'accept' | 'continue' | 'break' | 'return'}
  | {readonly kind: 'jump' | 'goto'; readonly chain: string};

/** enum nft_verdict_attributes. */
const verdictAttrs = attrs({code: [1, s32be], chain: [2, string]});

/** enum nft_data_attributes: a value or a verdict. */
export const dataAttrs = attrs({value: [1, bytes], verdict: [2, verdictAttrs]});

type Data = Values<typeof dataAttrs.table>;

export function verdictData(verdict: Verdict): Data {
  const code = codes[verdict.kind];
  return {verdict: 'chain' in verdict ? {code, chain: verdict.chain} : {code}};
}

/** The verdict in data the kernel sent; `undefined` for a value, and for verdicts that we never set (queue, stolen). */
export function parseVerdict(data: Data | undefined): Verdict | undefined {
  const code = data?.verdict?.code;
  const kind = (Object.keys(codes) as (keyof typeof codes)[]).find((name) => codes[name] === code);
  if (kind === undefined) return undefined;
  return kind === 'jump' || kind === 'goto' ? {kind, chain: data?.verdict?.chain ?? ''} : {kind};
}

export function formatVerdict(verdict: Verdict): string {
  return 'chain' in verdict ? `${verdict.kind} ${verdict.chain}` : verdict.kind;
}

export function sameVerdict(a: Verdict | undefined, b: Verdict): boolean {
  return a !== undefined && formatVerdict(a) === formatVerdict(b);
}
