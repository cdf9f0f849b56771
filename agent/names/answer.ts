import {familyOf, formatIp, type Ip} from '../../lib/ip/address.ts';
import {classIn, rcode, recordType} from '../dns/constants.ts';
import {isBelow} from '../dns/name.ts';
import type {Query} from '../dns/query.ts';
import type {DnsRecord, Response} from '../dns/response.ts';
import type {NameEntry, NamedNetwork, NamedPort} from './entry.ts';
import {parseReverseName} from './reverse.ts';
import type {NameTable} from './table.ts';

/** What a client may see: the networks it is attached to, the one whose server it asked first. */
export interface View {
  readonly networks: readonly NamedNetwork[];
  /** Names that are nobody's may be asked for elsewhere. */
  readonly mayForward: boolean;
}

/** How long, in seconds, "there is none" may be kept. */
const negativeTtl = 5;

/** Answers from the table, or says that the name is none of ours: then it is asked for elsewhere. */
export function answer(table: NameTable, view: View, query: Query): Response | 'forward' {
  if (query.class !== classIn || view.networks.length === 0) return failure(rcode.refused, view);
  const ip = parseReverseName(query.name);
  if (ip !== undefined) return answerReverse(table, view, query, ip);
  for (const network of view.networks) {
    const found = findIn(table, network, query.name);
    if (found !== undefined) return answerFound(table, view, query, {network, ...found});
  }
  const zone = view.networks.find(({domain}) => isBelow(query.name, domain));
  if (zone !== undefined) return answerZone(table, view, query, zone);
  if (view.mayForward && !isElsewhere(table, view, query.name)) return 'forward';
  return failure(rcode.nameError, view);
}

/** Whether the name is one of a network that the client is not in: nobody else is told of it. */
function isElsewhere(table: NameTable, view: View, name: string): boolean {
  return table
    .listNetworks()
    .some(
      (each) =>
        isBelow(name, each.domain) &&
        !view.networks.includes(each) &&
        findIn(table, each, name) !== undefined,
    );
}

interface Found {
  readonly entries: readonly NameEntry[];
  /** The question was for a port by its name: `_http._tcp.web`. */
  readonly port?: {readonly name: string; readonly protocol: string} | undefined;
}

/** Looks a name up in a network, in each of the ways in which it may be written there. */
function findIn(table: NameTable, {name: network, domain}: NamedNetwork, name: string): Found | undefined {
  for (const relative of relativeNames(name, network, domain)) {
    const entries = table.listByName(network, relative);
    if (entries.length > 0) return {entries};
    const [, port, protocol, rest] = /^_([^.]+)\._(tcp|udp|sctp)\.(.+)$/.exec(relative) ?? [];
    if (port === undefined || protocol === undefined || rest === undefined) continue;
    const owners = table.listByName(network, rest);
    if (owners.length > 0) return {entries: owners, port: {name: port, protocol}};
  }
  return undefined;
}

/** `web`, `web.net`, `web.domain` are all `web` of the network. */
function relativeNames(name: string, network: string, domain: string): string[] {
  const short = name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : name;
  return short.endsWith(`.${network.toLowerCase()}`) ? [short, short.slice(0, -network.length - 1)] : [short];
}

/** A name that is ours is never asked for elsewhere, and never denied: a type that it lacks is an empty answer (RFC 2308). */
function answerFound(
  table: NameTable,
  view: View,
  query: Query,
  {network, entries, port}: Found & {readonly network: NamedNetwork},
): Response {
  const well = entries.filter(({isCritical}) => !isCritical);
  const {answers, additional = []} = port
    ? makeSrv(query, well, network, port)
    : makeRecords(query, well, network);
  const base = {authoritative: true, recursionAvailable: view.mayForward};
  if (answers.length > 0) return {...base, rcode: rcode.noError, answers, additional};
  // A port that nobody has: no such name (RFC 2782 has no records for it, and nothing is below it).
  const isUnknownPort =
    port !== undefined && !entries.some(({ports}) => ports.some((each) => isPort(each, port)));
  return {
    ...base,
    rcode: isUnknownPort ? rcode.nameError : rcode.noError,
    authority: [soaOf(table, network)],
  };
}

interface Records {
  readonly answers: readonly DnsRecord[];
  readonly additional?: readonly DnsRecord[];
}

function makeRecords({name, type}: Query, entries: readonly NameEntry[], network: NamedNetwork): Records {
  switch (type) {
    case recordType.A:
      return {answers: makeAddresses(name, entries, [4])};
    case recordType.AAAA:
      return {answers: makeAddresses(name, entries, [6])};
    case recordType.ANY:
      return {answers: makeAddresses(name, entries, [4, 6])};
    case recordType.TXT:
      return {
        answers: entries.flatMap(({texts, ttl}) =>
          texts.length === 0 ? [] : [{name, ttl, data: {type: 'TXT' as const, texts}}],
        ),
      };
    case recordType.SRV:
      return makeSrv({name, type}, entries, network);
    default:
      return {answers: []};
  }
}

/** Addresses of a family, each once, beginning anywhere: clients take the first. */
function makeAddresses(
  name: string,
  entries: readonly NameEntry[],
  families: readonly number[],
): DnsRecord[] {
  const seen = new Map<string, DnsRecord>();
  for (const {ips, ttl} of entries) {
    for (const ip of ips) {
      const family = familyOf(ip);
      if (!families.includes(family)) continue;
      seen.set(formatIp(ip), {name, ttl, data: {type: family === 4 ? 'A' : 'AAAA', ip}});
    }
  }
  return rotate([...seen.values()]);
}

function rotate<Value>(values: readonly Value[]): Value[] {
  const start = Math.floor(Math.random() * values.length);
  return [...values.slice(start), ...values.slice(0, start)];
}

/** The ports of the entries, with the addresses of their targets beside them. */
function makeSrv(
  {name, type}: Pick<Query, 'name' | 'type'>,
  entries: readonly NameEntry[],
  {name: network, domain}: NamedNetwork,
  port?: Found['port'],
): Records {
  if (type !== recordType.SRV && type !== recordType.ANY) return {answers: []};
  const owners = rotate(entries).flatMap((entry) => {
    const ports = entry.ports.filter((each) => port === undefined || isPort(each, port));
    const target = `${entry.names[0] ?? network}.${domain}`;
    return ports.map((each) => ({entry, port: each, target}));
  });
  return {
    answers: owners.map(({entry: {ttl, weight}, port: {port: number}, target}) => ({
      name,
      ttl,
      data: {type: 'SRV', priority: 10, weight, port: number, target},
    })),
    additional: [...new Set(owners)].flatMap(({entry, target}) => makeAddresses(target, [entry], [4, 6])),
  };
}

function isPort({name, protocol}: NamedPort, wanted: NonNullable<Found['port']>): boolean {
  return name === wanted.name && protocol === wanted.protocol;
}

/** A name in our domain that nobody has, or the domain itself. */
function answerZone(table: NameTable, view: View, {name, type}: Query, zone: NamedNetwork): Response {
  const isApex = name === zone.domain;
  const soa = soaOf(table, zone);
  const base = {authoritative: true, recursionAvailable: view.mayForward};
  if (!isApex) return {...base, rcode: rcode.nameError, authority: [soa]};
  if (type === recordType.SOA) return {...base, rcode: rcode.noError, answers: [soa]};
  if (type === recordType.NS) {
    const data = {type: 'NS' as const, target: `ns.dns.${zone.domain}`};
    return {...base, rcode: rcode.noError, answers: [{name, ttl: negativeTtl, data}]};
  }
  return {...base, rcode: rcode.noError, authority: [soa]};
}

/** Names of an address: only of networks that the client sees. */
function answerReverse(table: NameTable, view: View, query: Query, ip: Ip): Response | 'forward' {
  const entries = table.listByIp(ip);
  const seen = entries.flatMap((entry) => {
    const network = view.networks.find(({name}) => name === entry.network);
    return network === undefined ? [] : [{entry, network}];
  });
  // A container has its own name, whatever it answers for.
  const containers = seen.filter(({entry}) => entry.containerId !== undefined);
  const owners = containers.length > 0 ? containers : seen;
  const [first] = owners;
  if (first === undefined) {
    return view.mayForward && entries.length === 0 ? 'forward' : failure(rcode.nameError, view);
  }
  const answers = owners.flatMap(({entry, network}) =>
    entry.names.slice(0, 1).map((name) => ({
      name: query.name,
      ttl: entry.ttl,
      data: {
        type: 'PTR' as const,
        target: `${name}.${network.domain}`,
      },
    })),
  );
  const isAsked = query.type === recordType.PTR || query.type === recordType.ANY;
  return {
    rcode: rcode.noError,
    authoritative: true,
    recursionAvailable: view.mayForward,
    ...(isAsked ? {answers} : {authority: [soaOf(table, first.network)]}),
  };
}

function soaOf({serial}: NameTable, {domain: zone}: NamedNetwork): DnsRecord {
  return {
    name: zone,
    ttl: negativeTtl,
    data: {
      type: 'SOA',
      server: `ns.dns.${zone}`,
      mailbox: `hostmaster.${zone}`,
      serial,
      minimum: negativeTtl,
    },
  };
}

function failure(code: number, {mayForward}: View): Response {
  return {rcode: code, authoritative: false, recursionAvailable: mayForward};
}
