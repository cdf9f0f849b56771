import test from 'ava';
import {recordType} from '../../../agent/dns/constants.ts';
import type {Query} from '../../../agent/dns/query.ts';
import {answer, type View} from '../../../agent/names/answer.ts';
import type {NameEntry, NamedNetwork} from '../../../agent/names/entry.ts';
import {NameTable} from '../../../agent/names/table.ts';
import {parseIp} from '../../../lib/ip/address.ts';

const net1: NamedNetwork = {name: 'net1', domain: 'net1.test', isInternal: false, upstreams: []};
const net2: NamedNetwork = {name: 'net2', domain: 'net2.test', isInternal: false, upstreams: []};

function entry(key: string, names: string[], ips: string[], more: Partial<NameEntry> = {}): NameEntry {
  return {
    key,
    network: 'net1',
    names,
    ips: ips.map((ip) => parseIp(ip)!),
    ports: [],
    texts: [],
    ttl: 0,
    isCritical: false,
    weight: 1,
    ...more,
  };
}

function makeTable(): NameTable {
  const table = new NameTable();
  table.putNetwork(net1);
  table.putNetwork(net2);
  table.put(
    entry('a', ['web', 'www'], ['10.1.0.5', 'fd00::5'], {
      ports: [{name: 'http', protocol: 'tcp', port: 8080}],
    }),
  );
  table.put(entry('b', ['db'], ['10.1.0.6'], {texts: ['version=1']}));
  table.put(entry('c', ['web'], ['10.2.0.5'], {network: 'net2'}));
  return table;
}

const view: View = {networks: [net1], mayForward: true};

function ask(table: NameTable, name: string, type: keyof typeof recordType, seen: View = view) {
  const query: Query = {
    id: 1,
    opcode: 0,
    recursionDesired: true,
    checkingDisabled: false,
    name,
    type: recordType[type],
    class: 1,
    question: new Uint8Array(),
    edns: undefined,
  };
  const found = answer(table, seen, query);
  if (found === 'forward') return found;
  const {rcode, answers = [], authority = [], additional = []} = found;
  return {
    rcode,
    answers: answers.map(({data}) =>
      'ip' in data ? data.ip.toString() : 'target' in data ? data.target : data,
    ),
    soa: authority.map(({name: zone}) => zone),
    additional: additional.length,
  };
}

test('a name is found in each of its spellings', (t) => {
  const table = makeTable();
  for (const name of ['web', 'web.net1', 'web.net1.test', 'www', 'www.net1.test']) {
    t.deepEqual(ask(table, name, 'A'), {rcode: 0, answers: ['10.1.0.5'], soa: [], additional: 0}, name);
  }
  t.like(ask(table, 'web', 'AAAA'), {answers: [parseIp('fd00::5')!.toString()]});
});

test('a type that a name lacks is an empty answer with SOA, never a denial and never asked elsewhere', (t) => {
  const table = makeTable();
  for (const type of ['AAAA', 'MX', 'SRV', 'CNAME'] as const) {
    t.deepEqual(ask(table, 'db', type), {rcode: 0, answers: [], soa: ['net1.test'], additional: 0}, type);
  }
});

test('what nobody has is denied within our zone, and asked elsewhere outside', (t) => {
  const table = makeTable();
  t.deepEqual(ask(table, 'nobody.net1.test', 'A'), {
    rcode: 3,
    answers: [],
    soa: ['net1.test'],
    additional: 0,
  });
  t.is(ask(table, 'example.org', 'A'), 'forward');
  t.like(ask(table, 'example.org', 'A', {networks: [net1], mayForward: false}), {rcode: 3});
  t.like(ask(table, 'web', 'A', {networks: [], mayForward: false}), {rcode: 5});
});

test('the names of another network are not seen, unless the client is in both', (t) => {
  const table = makeTable();
  t.like(ask(table, 'web.net2.test', 'A'), {rcode: 3, answers: []});
  t.is(ask(table, 'other.net2.test', 'A'), 'forward');
  t.like(ask(table, 'web.net2', 'A', {networks: [net1, net2], mayForward: true}), {answers: ['10.2.0.5']});
  t.like(ask(table, 'web', 'A', {networks: [net2, net1], mayForward: true}), {answers: ['10.2.0.5']});
  t.like(ask(table, '5.0.2.10.in-addr.arpa', 'PTR'), {rcode: 3});
  t.is(ask(table, '9.0.2.10.in-addr.arpa', 'PTR'), 'forward');
});

test('addresses have names', (t) => {
  const table = makeTable();
  t.like(ask(table, '5.0.1.10.in-addr.arpa', 'PTR'), {rcode: 0, answers: ['web.net1.test']});
  const nibbles = `5${'.0'.repeat(27)}.0.0.d.f.ip6.arpa`;
  t.like(ask(table, nibbles, 'PTR'), {rcode: 0, answers: ['web.net1.test']});
  t.like(ask(table, '5.0.1.10.in-addr.arpa', 'A'), {rcode: 0, answers: [], soa: ['net1.test']});
});

test('ports have records of their own, with the address beside', (t) => {
  const table = makeTable();
  t.deepEqual(ask(table, '_http._tcp.web', 'SRV'), {
    rcode: 0,
    answers: ['web.net1.test'],
    soa: [],
    additional: 2,
  });
  t.like(ask(table, '_http._tcp.web', 'A'), {rcode: 0, answers: [], soa: ['net1.test']});
  t.like(ask(table, '_ftp._tcp.web', 'SRV'), {rcode: 3});
  t.like(ask(table, 'db', 'TXT'), {answers: [{type: 'TXT', texts: ['version=1']}]});
});

test('several of one name are given in turns, each address once; the sick are left out', (t) => {
  const table = makeTable();
  table.put(entry('d', ['web'], ['10.1.0.7']));
  table.put(entry('e', ['web'], ['10.1.0.7']));
  table.put(entry('f', ['web'], ['10.1.0.8'], {isCritical: true}));
  const firsts = new Set<unknown>();
  for (let i = 0; i < 100; i++) {
    const found = ask(table, 'web', 'A');
    if (found === 'forward') return t.fail();
    t.is(found.answers.length, 2);
    t.true(found.answers.includes('10.1.0.5') && found.answers.includes('10.1.0.7'));
    firsts.add(found.answers[0]);
  }
  t.is(firsts.size, 2);
});

test('what goes takes its names along', (t) => {
  const table = makeTable();
  const {serial} = table;
  table.remove('a');
  t.like(ask(table, 'web.net1.test', 'A'), {rcode: 3});
  t.is(ask(table, '5.0.1.10.in-addr.arpa', 'PTR'), 'forward');
  t.true(table.serial > serial);
  t.deepEqual(table.networksOf('10.1.0.5'), []);
});

test('the zone itself has SOA and NS', (t) => {
  const table = makeTable();
  t.like(ask(table, 'net1.test', 'SOA'), {rcode: 0, soa: []});
  t.like(ask(table, 'net1.test', 'NS'), {rcode: 0, answers: ['ns.dns.net1.test']});
  t.like(ask(table, 'net1.test', 'A'), {rcode: 0, answers: [], soa: ['net1.test']});
});
