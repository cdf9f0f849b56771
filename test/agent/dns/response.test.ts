import test from 'ava';
import packet from 'dns-packet';
import {readQuery, type Query} from '../../../agent/dns/query.ts';
import {formatResponse, type DnsRecord} from '../../../agent/dns/response.ts';
import {parseIp} from '../../../lib/ip/address.ts';

function ask(name: string, {edns = false}: {readonly edns?: boolean} = {}): Query {
  const message = packet.encode({
    type: 'query',
    id: 99,
    flags: packet.RECURSION_DESIRED,
    questions: [{name, type: 'A', class: 'IN'}],
    ...(edns && {additionals: [{name: '.', type: 'OPT', udpPayloadSize: 1232, flags: 0} as never]}),
  });
  const incoming = readQuery(message);
  if (incoming.kind !== 'query') throw new Error(incoming.kind);
  return incoming.query;
}

const base = {rcode: 0, authoritative: true, recursionAvailable: true};
const address = (name: string, ip: string): DnsRecord => ({
  name,
  ttl: 5,
  data: {type: ip.includes(':') ? 'AAAA' : 'A', ip: parseIp(ip)!},
});

test('an answer repeats the question in its spelling', (t) => {
  const message = formatResponse(ask('WeB.net1'), {...base, answers: [address('web.net1', '10.1.0.5')]}, 512);
  const decoded = packet.decode(message);
  t.like(decoded, {id: 99, type: 'response', flag_aa: true, flag_ra: true, flag_rd: true, flag_tc: false});
  t.is(decoded.questions?.[0]?.name, 'WeB.net1');
  t.like(decoded.answers?.[0], {name: 'WeB.net1', type: 'A', ttl: 5, data: '10.1.0.5'});
  t.deepEqual(decoded.additionals, []);
});

test('every type of record is as others read it', (t) => {
  const answers: DnsRecord[] = [
    address('web.net1', 'fd00::5'),
    {name: 'x.net1', ttl: 0, data: {type: 'PTR', target: 'web.net1'}},
    {name: 'net1', ttl: 1, data: {type: 'NS', target: 'ns.dns.net1'}},
    {name: 'a.net1', ttl: 1, data: {type: 'CNAME', target: 'b.other'}},
    {
      name: '_http._tcp.web.net1',
      ttl: 5,
      data: {type: 'SRV', priority: 10, weight: 3, port: 8080, target: 'web.net1'},
    },
    {name: 'web.net1', ttl: 5, data: {type: 'TXT', texts: ['a=b', 'c']}},
    {name: 'net1', ttl: 5, data: {type: 'SOA', server: 'ns.net1', mailbox: 'h.net1', serial: 7, minimum: 5}},
  ];
  const {answers: found = []} = packet.decode(formatResponse(ask('web.net1'), {...base, answers}, 1232));
  t.deepEqual(
    found.map((each) => ('data' in each ? each.data : undefined)),
    [
      'fd00::5',
      'web.net1',
      'ns.dns.net1',
      'b.other',
      {priority: 10, weight: 3, port: 8080, target: 'web.net1'},
      [Buffer.from('a=b'), Buffer.from('c')],
      {mname: 'ns.net1', rname: 'h.net1', serial: 7, refresh: 7200, retry: 1800, expire: 86400, minimum: 5},
    ] as never,
  );
});

test('what does not fit is left out, and the flag says so', (t) => {
  const answers = Array.from({length: 100}, (_, i) => address('web.net1', `10.1.0.${i}`));
  const query = ask('web.net1', {edns: true});
  const cut = formatResponse(query, {...base, answers}, 512);
  t.true(cut.length <= 512);
  const decoded = packet.decode(cut);
  t.true(decoded.flag_tc);
  t.is(decoded.answers?.length, Math.floor((512 - 12 - 14 - 11) / 16));
  t.is(decoded.additionals?.[0]?.type, 'OPT');
  t.false(packet.decode(formatResponse(query, {...base, answers}, 65_535)).flag_tc);
});

test('a code beyond 15 stands in the OPT record', (t) => {
  const decoded = packet.decode(formatResponse(ask('a', {edns: true}), {...base, rcode: 16}, 512));
  t.like(decoded.additionals?.[0], {extendedRcode: 1} as never);
});
