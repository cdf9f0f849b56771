import {attrs} from '../../attrs.ts';
import {bytes, type Codec} from '../../codec.ts';
import {fifo} from './fifo.ts';
import {htb} from './htb.ts';
import {tbf} from './tbf.ts';

const nothing = attrs({});

/** The kinds of qdisc that have a table; a new kind is a file and a line here. */
export const qdiscKinds = {
  bfifo: fifo,
  clsact: nothing,
  htb,
  ingress: nothing,
  pfifo: fifo,
  tbf,
} as const;

type Kinds = typeof qdiscKinds;
type OptionsOf<C> = C extends Codec<infer T> ? T : never;

/** What a qdisc is and how it is set. */
export type KnownQdiscInfo = {
  readonly [K in keyof Kinds]: {readonly kind: K; readonly options?: OptionsOf<Kinds[K]> | undefined};
}[keyof Kinds];

/** As read: a kind without a table keeps its options as bytes. */
export interface OtherQdiscInfo {
  readonly kind: 'other';
  readonly name: string;
  readonly raw?: Uint8Array | undefined;
}

export type QdiscInfo = KnownQdiscInfo | OtherQdiscInfo;

/** The name the kernel knows the kind by. */
export function kindName(info: QdiscInfo): string {
  return info.kind === 'other' ? info.name : info.kind;
}

/** `place`: where in the bytes the options stand, if there are any. */
export function readQdiscInfo(
  kind: string,
  b: Buffer,
  place: readonly [start: number, end: number] | undefined,
): QdiscInfo {
  if (!Object.hasOwn(qdiscKinds, kind))
    return {kind: 'other', name: kind, raw: place && bytes.get(b, ...place)};
  const codec = qdiscKinds[kind as keyof Kinds] as Codec<unknown>;
  return {kind, options: place && codec.get(b, ...place)} as KnownQdiscInfo;
}
