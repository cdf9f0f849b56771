import {eachAttribute, putAttribute} from '../attrs.ts';
import {bytes, string} from '../codec.ts';
import type {Values} from '../attrs.ts';
import type {Codec} from '../codec.ts';
import {bitwise} from './expr/bitwise.ts';
import {cmp} from './expr/cmp.ts';
import {counter} from './expr/counter.ts';
import {ct} from './expr/ct.ts';
import {dynset} from './expr/dynset.ts';
import {fib} from './expr/fib.ts';
import {hash} from './expr/hash.ts';
import {immediate} from './expr/immediate.ts';
import {limit} from './expr/limit.ts';
import {lookup} from './expr/lookup.ts';
import {masq} from './expr/masq.ts';
import {match} from './expr/match.ts';
import {meta} from './expr/meta.ts';
import {nat} from './expr/nat.ts';
import {notrack} from './expr/notrack.ts';
import {numgen} from './expr/numgen.ts';
import {payload} from './expr/payload.ts';
import {range} from './expr/range.ts';
import {redir} from './expr/redir.ts';
import {reject} from './expr/reject.ts';
import {rt} from './expr/rt.ts';

/** Attributes of every expression, by the name the kernel knows it by. */
const tables = {
  bitwise,
  cmp,
  counter,
  ct,
  dynset,
  fib,
  hash,
  immediate,
  limit,
  lookup,
  masq,
  match,
  meta,
  nat,
  notrack,
  numgen,
  payload,
  range,
  redir,
  reject,
  rt,
} as const;

type Tables = typeof tables;
type Name = keyof Tables;

/** One step of a rule. */
export type Expression = {
  readonly [N in Name]: {readonly name: N; readonly data: Values<Tables[N]['table']>};
}[Name];

/** An expression that has no file of its own here; kept as it came. */
export interface OtherExpression {
  readonly name: 'other';
  readonly kind: string;
  readonly data: Uint8Array;
}

/** enum nft_expr_attributes. */
const numbers = {name: 1, data: 2} as const;

/** How an expression is written in the list of a rule. */
export const expressionCodec: Codec<Expression | OtherExpression> = {
  nested: true,
  put(w, expression) {
    if (expression.name === 'other') {
      putAttribute(w, numbers.name, string, expression.kind);
      putAttribute(w, numbers.data, {...bytes, nested: true}, expression.data);
      return;
    }
    putAttribute(w, numbers.name, string, expression.name);
    const codec = tables[expression.name] as Codec<Expression['data']> & Pick<Tables[Name], 'table'>;
    // One that has no attributes has no nest for them either.
    if (Object.keys(codec.table).length > 0) putAttribute(w, numbers.data, codec, expression.data);
  },
  get(b, start, end) {
    let kind = '';
    let place: readonly [number, number] = [end, end];
    eachAttribute(b, start, end, (number, from, to) => {
      if (number === numbers.name) kind = string.get(b, from, to);
      else if (number === numbers.data) place = [from, to];
    });
    if (!Object.hasOwn(tables, kind)) return {name: 'other', kind, data: bytes.get(b, ...place)};
    return {name: kind, data: tables[kind as Name].get(b, ...place)} as Expression;
  },
};

/** For tests: the names of all expressions that have a file. */
export const expressionNames = Object.keys(tables) as readonly Name[];

/** The verdict register; a chain's evaluation ends or jumps when it is set. */
export const verdictRegister = 0;
/** The register every statement here computes in. */
export const register = 1;
