import {familyOf, parseIp} from '../../lib/ip/address.ts';
import type {Family, Ip} from '../../lib/ip/address.ts';
import {hostCidr, parseCidr} from '../../lib/ip/cidr.ts';
import {parseMac} from '../../lib/ip/mac.ts';
import {
  compareAddressRange,
  compareConnectionState,
  compareInputInterface,
  compareMac,
  compareMark,
  comparePorts,
  compareProtocol,
  compareSubnet,
  portProtocols,
} from '../../lib/netlink/nft/match.ts';
import type {Comparison, ConnectionState, PortProtocol} from '../../lib/netlink/nft/match.ts';
import type {Statement} from '../../lib/netlink/nft/rule.ts';
import type {TokenReader} from './condition-tokens.ts';

/** Statement alternatives: any one of the lists, all of whose statements match. */
type Alternatives = Statement[][];
/** Compares with one value; throws an Error for a text that is none. */
type CompareWith = (comparison: Comparison, text: string) => Statement;

/** Reads one match, `ip saddr != { 10.0.0.0/8, 192.0.2.1 }`. Throws an Error that names what it does not understand. */
export function parseMatch(reader: TokenReader, family: Family): Alternatives {
  const word = reader.next();
  switch (word) {
    case 'ip':
    case 'ip6':
      if ((word === 'ip' ? 4 : 6) !== family)
        throw new Error(`"${word}" is never true of packets of IPv${family}`);
      return values(reader, compareAddress(reader.expect('saddr', 'daddr'), family));
    case 'ether':
      return values(reader, compareHardware(reader.expect('saddr', 'daddr')));
    case 'iifname':
      return values(reader, compareInterface);
    case 'meta':
      return parseMeta(reader);
    case 'ct':
      return reader.expect('state', 'mark') === 'mark' ? parseMark(reader, 'ct') : parseStates(reader);
    case 'tcp':
    case 'udp':
    case 'sctp':
    case 'th':
      return values(reader, comparePort(word, reader.expect('sport', 'dport')));
    default:
      throw new Error(`"${word}" is not understood`);
  }
}

function parseMeta(reader: TokenReader): Alternatives {
  switch (reader.expect('iifname', 'mark', 'l4proto')) {
    case 'iifname':
      return values(reader, compareInterface);
    case 'mark':
      return parseMark(reader, 'meta');
    case 'l4proto':
      return values(reader, compareTransport);
  }
}

function parseComparison(reader: TokenReader): Comparison {
  const word = reader.take('==', '!=', 'eq', 'ne');
  return word === '!=' || word === 'ne' ? '!=' : '==';
}

/** Any of a list, or, with `!=`, none of it. */
function values(reader: TokenReader, compare: CompareWith): Alternatives {
  const comparison = parseComparison(reader);
  if (reader.take('{') === undefined) return [[compare(comparison, reader.next())]];
  const statements: Statement[] = [];
  while (reader.take('}') === undefined) {
    statements.push(compare(comparison, reader.next()));
    if (reader.take(',') === undefined && reader.peek() !== '}') reader.expect(',', '}');
  }
  if (statements.length === 0) throw new Error('an empty list');
  return comparison === '!=' ? [statements] : statements.map((statement) => [statement]);
}

function parseMark(reader: TokenReader, of: 'meta' | 'ct'): Alternatives {
  const mask = reader.take('&', 'and') === undefined ? undefined : parseNumber(reader.next());
  return values(reader, (comparison, text) =>
    compareMark(of, comparison, {value: parseNumber(text), ...(mask !== undefined && {mask})}),
  );
}

const states: readonly string[] = ['new', 'established', 'related', 'invalid'];

/** `new,established` is any of them, with braces or without. */
function parseStates(reader: TokenReader): Alternatives {
  const comparison = parseComparison(reader);
  const braced = reader.take('{') !== undefined;
  const found: ConnectionState[] = [];
  do {
    const state = reader.next();
    if (!states.includes(state)) throw new Error(`"${state}" is no state of a connection`);
    found.push(state as ConnectionState);
  } while (reader.take(',') !== undefined);
  if (braced) reader.expect('}');
  return [[compareConnectionState(comparison, found)]];
}

function compareAddress(field: 'saddr' | 'daddr', family: Family): CompareWith {
  return (comparison, text) => {
    const refuse = () => new Error(`"${text}" is no address, subnet or range of IPv${family}`);
    const parse = (part: string): Ip => {
      const ip = parseIp(part);
      if (!ip || familyOf(ip) !== family) throw refuse();
      return ip;
    };
    if (text.includes('-')) {
      const [first, last] = split(text, '-').map(parse);
      if (first!.value > last!.value) throw refuse();
      return compareAddressRange(field, comparison, {first: first!, last: last!});
    }
    const cidr = text.includes('/') ? parseCidr(text) : hostCidr(parse(text));
    if (!cidr || familyOf(cidr.ip) !== family) throw refuse();
    return compareSubnet(field, comparison, cidr);
  };
}

function compareHardware(field: 'saddr' | 'daddr'): CompareWith {
  return (comparison, text) => {
    const mac = parseMac(text);
    if (mac === undefined) throw new Error(`"${text}" is no hardware address`);
    return compareMac(field, comparison, mac);
  };
}

const compareInterface: CompareWith = (comparison, text) => {
  const name = text.replaceAll('"', '');
  if (name === '' || name === '*' || Buffer.byteLength(name) > 15 || /[/:\s]/.test(name))
    throw new Error(`"${name}" cannot be the name of an interface`);
  return compareInputInterface(comparison, name);
};

const compareTransport: CompareWith = (comparison, text) => {
  if (Object.hasOwn(portProtocols, text)) return compareProtocol(comparison, text as PortProtocol);
  const number = parseNumber(text);
  if (number > 255) throw new Error(`"${text}" is no protocol`);
  return compareProtocol(comparison, number);
};

function comparePort(protocol: PortProtocol | 'th', field: 'sport' | 'dport'): CompareWith {
  return (comparison, text) => {
    const [first, last = first] = text.includes('-')
      ? split(text, '-').map(parseNumber)
      : [parseNumber(text)];
    if (first! > last! || last! > 65_535) throw new Error(`"${text}" is no port or range of ports`);
    return comparePorts(protocol, {field, first: first!, last: last!}, comparison);
  };
}

function split(text: string, at: string): string[] {
  const parts = text.split(at);
  if (parts.length !== 2) throw new Error(`"${text}" is no range`);
  return parts;
}

function parseNumber(text: string): number {
  const value = /^(0x[\da-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 0xffff_ffff)) throw new Error(`"${text}" is no number of 32 bits`);
  return value;
}
