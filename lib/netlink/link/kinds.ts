import {attrs, eachAttribute, putAttribute} from '../attrs.ts';
import {bytes, text, type Codec} from '../codec.ts';
import {bridgePort} from './bridge-port.ts';
import {bridge} from './bridge.ts';
import {veth} from './veth.ts';
import {vlan} from './vlan.ts';
import {vxlan} from './vxlan.ts';

const nothing = attrs({});

/** The kinds of link that have a table; a new kind is a file and a line here. */
export const kinds = {
  bridge,
  dummy: nothing,
  ifb: nothing,
  veth,
  vlan,
  vxlan,
  // What it has is told over generic netlink (lib/netlink/wireguard).
  wireguard: nothing,
} as const;

type Kinds = typeof kinds;
type DataOf<C> = C extends Codec<infer T> ? T : never;

/** The kind of a link with what only that kind has. */
export type KnownLinkInfo = {
  readonly [K in keyof Kinds]: {readonly kind: K; readonly data?: DataOf<Kinds[K]> | undefined};
}[keyof Kinds];

/** As read: a kind without a table keeps its data as bytes, under `raw`. */
export interface OtherLinkInfo {
  readonly kind: 'other';
  readonly name: string;
  readonly raw?: Uint8Array | undefined;
}

export type LinkInfo = KnownLinkInfo | OtherLinkInfo;

/** What a link has because of its master; `bridge` is the one kind of master with a table. */
export interface PortInfo {
  /** The kind of the master. */
  readonly kind: string;
  readonly bridgePort?: DataOf<typeof bridgePort> | undefined;
}

// linux/if_link.h, enum IFLA_INFO_*
const infoKind = 1;
const infoData = 2;
const infoSlaveKind = 4;
const infoSlaveData = 5;

/** IFLA_LINKINFO: the meaning of its data depends on the kind beside it. */
export const linkInfo: Codec<{readonly info?: LinkInfo | undefined; readonly port?: PortInfo | undefined}> = {
  nested: true,
  put(w, {info, port}) {
    if (info) {
      putAttribute(w, infoKind, text, info.kind === 'other' ? info.name : info.kind);
      if (info.kind === 'other') {
        if (info.raw) putAttribute(w, infoData, {...bytes, nested: true}, info.raw);
      } else if (info.data) {
        putAttribute(w, infoData, kinds[info.kind] as Codec<unknown>, info.data);
      }
    }
    if (port) {
      putAttribute(w, infoSlaveKind, text, port.kind);
      if (port.bridgePort) putAttribute(w, infoSlaveData, bridgePort, port.bridgePort);
    }
  },
  get(b, start, end) {
    // The kernel puts a kind before its data, but nothing obliges it.
    let kind: string | undefined;
    let portKind: string | undefined;
    let data: readonly [number, number] | undefined;
    let portData: readonly [number, number] | undefined;
    eachAttribute(b, start, end, (number, from, to) => {
      if (number === infoKind) kind = text.get(b, from, to);
      else if (number === infoData) data = [from, to];
      else if (number === infoSlaveKind) portKind = text.get(b, from, to);
      else if (number === infoSlaveData) portData = [from, to];
    });
    return {
      info: kind === undefined ? undefined : readInfo(b, kind, data),
      port:
        portKind === undefined
          ? undefined
          : {
              kind: portKind,
              bridgePort: portKind === 'bridge' && portData ? bridgePort.get(b, ...portData) : undefined,
            },
    };
  },
};

function readInfo(b: Buffer, kind: string, data: readonly [number, number] | undefined): LinkInfo {
  if (!Object.hasOwn(kinds, kind)) return {kind: 'other', name: kind, raw: data && bytes.get(b, ...data)};
  const codec = kinds[kind as keyof Kinds] as Codec<unknown>;
  return {kind, data: data && codec.get(b, ...data)} as KnownLinkInfo;
}
