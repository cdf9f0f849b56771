import {attrs, message, type Values} from '../attrs.ts';
import type {Writer} from '../writer.ts';
import {NetlinkError, isNotFound} from '../error.ts';
import {ifinfomsg, iff, linkRows} from '../link/common.ts';
import {familySettings, type Ipv4Settings, type Ipv6Changes, type Ipv6Settings} from '../link/settings.ts';
import {linkInfo, type KnownLinkInfo, type LinkInfo, type PortInfo} from '../link/kinds.ts';
import {Flag, type Reply} from '../message.ts';
import {rtm, type RouteSocket} from './socket.ts';

/** The attributes of RTM_*LINK. */
export const linkAttributes = attrs({...linkRows, linkInfo: [18, linkInfo], settings: [26, familySettings]});
export const linkMessage = message(ifinfomsg, linkAttributes);

// linux/rtnetlink.h: without statistics a link is half as long.
const skipStatistics = 1 << 3;

/** RFC 2863, in the words of the reference's messages; the index is the kernel's number. */
const operstates = [
  'unknown',
  'not-present',
  'down',
  'lower-layer-down',
  'testing',
  'dormant',
  'up',
] as const;
export type Operstate = (typeof operstates)[number];

export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** "aa:bb:cc:dd:ee:ff"; empty when the link has none. */
  readonly mac: string;
  readonly mtu: number;
  /** IFF_*, and the two that matter most by name: set by the administrator, not the state of the cable. */
  readonly flags: number;
  readonly up: boolean;
  /** Asked for on this link; a sniffer or a bridge port counts in `promiscuity` instead. */
  readonly promisc: boolean;
  readonly promiscuity: number;
  /** Takes all multicast frames; asked for on this link, as `promisc`. */
  readonly allMulti: boolean;
  /** How many packets may wait to be sent. */
  readonly txQueueLength: number;
  readonly operstate: Operstate;
  /** The ifindex of the bridge it is a port of. */
  readonly master: number | undefined;
  /** The ifindex of a veth's other end or of the device below, in the namespace `linkNetnsId` if that is set. */
  readonly link: number | undefined;
  readonly linkNetnsId: number | undefined;
  readonly alias: string | undefined;
  readonly group: number;
  /** `undefined` for loopback and physical devices. */
  readonly info: LinkInfo | undefined;
  readonly port: PortInfo | undefined;
  /** `undefined` for a link without IPv6. */
  readonly ipv6?: Ipv6Settings | undefined;
}

/** By index, or by name. */
export type LinkRef = {readonly ifindex: number} | {readonly name: string};

interface Settings {
  readonly mac?: string | undefined;
  readonly mtu?: number | undefined;
  readonly up?: boolean | undefined;
  readonly promisc?: boolean | undefined;
  readonly allMulti?: boolean | undefined;
  readonly txQueueLength?: number | undefined;
  readonly group?: number | undefined;
  /** The ifindex of a bridge; 0 takes the link out of the one it is in. */
  readonly master?: number | undefined;
  /** Puts the link into the namespace of this descriptor. */
  readonly netnsFd?: number | undefined;
}

export interface NewLink extends Settings {
  readonly name: string;
  readonly info: KnownLinkInfo;
  /** The ifindex of the device below, for kinds that have one. */
  readonly link?: number | undefined;
}

export interface LinkChange extends Settings {
  /** IFALIAS: a text for people, up to 255 bytes. The kernel takes none while a link is made. */
  readonly alias?: string | undefined;
  /** Renames the link; it has to be down, on kernels before 6.2. */
  readonly newName?: string | undefined;
  readonly ipv4?: Ipv4Settings | undefined;
  readonly ipv6?: Ipv6Changes | undefined;
  /** What its kind allows to change in place. */
  readonly info?: KnownLinkInfo | undefined;
}

/** How a link is named in messages: `eth0`, or `link 7` when only its number is known. */
export function linkLabel(ref: LinkRef): string {
  return 'name' in ref ? ref.name : `link ${ref.ifindex}`;
}

/** Makes a link; EEXIST if one of that name (or of the peer's name) is there. */
export function addLink(rt: RouteSocket, link: NewLink): Promise<void> {
  return rt.request({
    type: rtm.newLink,
    flags: Flag.create | Flag.exclusive,
    body: (w) => putLink(w, {}, link, {name: link.name, link: link.link, linkInfo: {info: link.info}}),
    what: `add link ${link.name}`,
  });
}

/** Changes only what is given. */
export function setLink(rt: RouteSocket, ref: LinkRef, change: LinkChange): Promise<void> {
  const ifindex = 'ifindex' in ref ? ref.ifindex : undefined;
  const name = 'ifindex' in ref ? change.newName : ref.name;
  if (ifindex === undefined && change.newName !== undefined) {
    return Promise.reject(new Error(`rename ${name}: a link is renamed by its ifindex`));
  }
  return rt.request({
    type: rtm.newLink,
    body: (w) =>
      putLink(w, {ifindex}, change, {
        name,
        linkInfo: change.info === undefined ? undefined : {info: change.info},
        settings: (change.ipv4 ?? change.ipv6) && {ipv4: change.ipv4, ipv6: change.ipv6},
      }),
    what: `set ${Object.keys(change).join(', ')} of ${linkLabel(ref)}`,
  });
}

/** Removes a link; one that is not there is removed already. Tells whether it was there. */
export async function removeLink(rt: RouteSocket, ref: LinkRef): Promise<boolean> {
  try {
    await rt.request({type: rtm.delLink, body: (w) => putRef(w, ref), what: `remove ${linkLabel(ref)}`});
    return true;
  } catch (error) {
    if (isNotFound(error)) return false;
    throw error;
  }
}

/** NetlinkError ENODEV when there is none. */
export function getLink(rt: RouteSocket, ref: LinkRef): Promise<Link> {
  return rt.get(
    {
      type: rtm.getLink,
      body: (w) => putRef(w, ref, {extMask: skipStatistics}),
      what: `get ${linkLabel(ref)}`,
    },
    readLink,
  );
}

export async function findLink(rt: RouteSocket, ref: LinkRef): Promise<Link | undefined> {
  try {
    return await getLink(rt, ref);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENODEV') return undefined;
    throw error;
  }
}

/** All links, or the ports of one bridge, or those of one kind; the kernel does the choosing. */
export function listLinks(
  rt: RouteSocket,
  filter: {readonly master?: number; readonly kind?: KnownLinkInfo['kind']} = {},
): Promise<Link[]> {
  const info = filter.kind === undefined ? undefined : ({info: {kind: filter.kind}} as {info: KnownLinkInfo});
  return rt.dump(
    {
      type: rtm.getLink,
      body: (w) =>
        linkMessage.put(w, {attributes: {extMask: skipStatistics, master: filter.master, linkInfo: info}}),
      what: 'list links',
    },
    (reply) => {
      const link = readLink(reply);
      // Kernels without strict checking send everything.
      const wanted =
        (filter.master === undefined || link.master === filter.master) &&
        (filter.kind === undefined || link.info?.kind === filter.kind);
      return wanted ? link : undefined;
    },
  );
}

type LinkAttributes = Values<typeof linkAttributes.table>;

function putLink(
  w: Writer,
  {ifindex = 0}: {readonly ifindex?: number | undefined},
  settings: Settings & {readonly alias?: string | undefined},
  more: LinkAttributes,
): void {
  const {up, promisc, allMulti, mac, mtu, alias, group, master, netnsFd, txQueueLength} = settings;
  const {flags, change} = flagsOf({up, promisc, allMulti});
  linkMessage.put(w, {
    header: {ifindex, flags, change},
    attributes: {
      name: more.name,
      mac,
      mtu,
      alias,
      group,
      master,
      txQueueLength,
      netnsFd,
      link: more.link,
      linkInfo: more.linkInfo,
      settings: more.settings,
    },
  });
}

/** Which flags are to change, and to what. */
function flagsOf(wanted: Pick<Settings, 'up' | 'promisc' | 'allMulti'>): {flags: number; change: number} {
  let flags = 0;
  let change = 0;
  for (const name of ['up', 'promisc', 'allMulti'] as const) {
    if (wanted[name] !== undefined) change |= iff[name];
    if (wanted[name]) flags |= iff[name];
  }
  return {flags, change};
}

function putRef(w: Writer, ref: LinkRef, attributes: LinkAttributes = {}): void {
  if ('ifindex' in ref) linkMessage.put(w, {header: {ifindex: ref.ifindex}, attributes});
  else linkMessage.put(w, {attributes: {...attributes, name: ref.name}});
}

/** RTM_NEWLINK, as an answer or a notification. */
export function readLink({buffer, start, end}: Reply): Link {
  const {header, attributes: a} = linkMessage.get(buffer, start, end);
  return {
    ifindex: header.ifindex,
    name: a.name ?? '',
    mac: a.mac ?? '',
    mtu: a.mtu ?? 0,
    flags: header.flags,
    up: (header.flags & iff.up) !== 0,
    promisc: (header.flags & iff.promisc) !== 0,
    promiscuity: a.promiscuity ?? 0,
    allMulti: (header.flags & iff.allMulti) !== 0,
    txQueueLength: a.txQueueLength ?? 0,
    operstate: operstates[a.operstate ?? 0] ?? 'unknown',
    master: a.master,
    link: a.link,
    linkNetnsId: a.linkNetnsId,
    alias: a.alias,
    group: a.group ?? 0,
    info: a.linkInfo?.info,
    port: a.linkInfo?.port,
    ipv6: a.settings?.ipv6,
  };
}
