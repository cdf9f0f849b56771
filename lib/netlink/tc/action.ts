import {array, eachAttribute, putAttribute} from '../attrs.ts';
import {bytes, string, type Codec} from '../codec.ts';
import type {Values} from '../attrs.ts';
import {mirred} from './action/mirred.ts';

/** What a filter does with a packet that it matches. */
export type Action =
  | {readonly kind: 'mirred'; readonly options: Values<typeof mirred.table>}
  | {readonly kind: 'other'; readonly name: string; readonly raw?: Uint8Array | undefined};

// linux/pkt_cls.h, enum TCA_ACT_*
const actKind = 1;
const actOptions = 2;

const action: Codec<Action> = {
  nested: true,
  put(w, value) {
    putAttribute(w, actKind, string, value.kind === 'other' ? value.name : value.kind);
    if (value.kind === 'mirred') putAttribute(w, actOptions, mirred, value.options);
    else if (value.raw) putAttribute(w, actOptions, {...bytes, nested: true}, value.raw);
  },
  get(b, start, end) {
    let kind = '';
    let place: readonly [number, number] | undefined;
    eachAttribute(b, start, end, (number, from, to) => {
      if (number === actKind) kind = string.get(b, from, to);
      else if (number === actOptions) place = [from, to];
    });
    if (kind === 'mirred') return {kind, options: place ? mirred.get(b, ...place) : {}};
    return {kind: 'other', name: kind, raw: place && bytes.get(b, ...place)};
  },
};

/** The actions of a filter, in the order in which they are taken (numbers from 1). */
export const actions = array(action);
