import {array, attrs} from '../../attrs.ts';
import {string, u32be, u64be} from '../../codec.ts';
import {limit} from './limit.ts';

/** An expression that elements made by packets carry: only limits here. */
const elementExpression = attrs({name: [1, string], data: [2, limit]});

/** `[ dynset update reg_key 1 set name ]`: enum nft_dynset_attributes. */
export const dynset = attrs({
  set: [1, string],
  setId: [2, u32be],
  op: [3, u32be],
  keyRegister: [4, u32be],
  dataRegister: [5, u32be],
  /** Milliseconds. */
  timeout: [6, u64be],
  expression: [7, elementExpression],
  flags: [9, u32be],
  expressions: [10, array(elementExpression, {type: 1})],
});

/** enum nft_dynset_ops. */
export const dynsetOps = {add: 0, update: 1} as const;
