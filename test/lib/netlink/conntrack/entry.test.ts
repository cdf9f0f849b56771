import test from 'ava';
import {formatIp} from '../../../../lib/ip/address.ts';
import {listConnections, removeConnection} from '../../../../lib/netlink/conntrack/entry.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

// From a capture of Debian's conntrack 1.4.7: `conntrack -D -f ipv4 -p udp --orig-port-dst 5353`, what the kernel listed
// (without counters and times), and what was sent to delete it.
const orig4 = [
  '34000180', // CTA_TUPLE_ORIG
  '14000180 08000100c0000202 08000200c0000201', // addresses
  '1c000280 0500010011000000 060002000fa00000 0600030014e90000', // protocol, ports
];
const listed4 = Buffer.from(
  [
    '02000000',
    ...orig4,
    '34000280 14000180 080001000a010005 08000200c0000202', // CTA_TUPLE_REPLY
    '1c000280 0500010011000000 0600020000350000 060003000fa00000',
    '0800030000000008', // CTA_STATUS
    '0800080000000000', // CTA_MARK, which has no row
    '08000c001fb72442', // CTA_ID
    '08000b0000000001',
    '080007000000012b',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);
const listed6 = Buffer.from(
  [
    '0a000000 4c000180',
    '2c000180 1400030020010db8000000000000000000000002 1400040020010db8000000000000000000000001',
    '1c000280 0500010011000000 060002000fa00000 0600030014e90000',
    '4c000280',
    '2c000180 1400030020010db8000000000000000000000001 1400040020010db8000000000000000000000002',
    '1c000280 0500010011000000 0600020014e90000 060003000fa00000',
    '0800030000000008 08000c00d81904c0',
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
);

test('a connection is read with both its directions', async (t) => {
  const socket = recordingNetlink();
  socket.answers = [{type: 0x100, flags: 2, body: listed4}];
  const [connection] = await listConnections(socket, {family: 4, protocol: 17, dstPort: 5353});
  t.like(connection, {protocol: 17, zone: 0, id: 0x1fb72442});
  const {orig, reply} = connection!;
  t.deepEqual(
    [formatIp(orig.src), orig.srcPort, formatIp(orig.dst), orig.dstPort],
    ['192.0.2.2', 4000, '192.0.2.1', 5353],
  );
  t.deepEqual(
    [formatIp(reply.src), reply.srcPort, formatIp(reply.dst), reply.dstPort],
    ['10.1.0.5', 53, '192.0.2.2', 4000],
  );
});

test('what an older kernel sends although it was not asked for is left out', async (t) => {
  const socket = recordingNetlink();
  socket.answers = [{type: 0x100, flags: 2, body: listed6}];
  t.is((await listConnections(socket, {family: 6, protocol: 17})).length, 1);
  t.is((await listConnections(socket, {family: 6, protocol: 17, dstPort: 53})).length, 0);
  t.is((await listConnections(socket, {family: 6, protocol: 6})).length, 0);
});

test('a connection is deleted by its first direction', async (t) => {
  const socket = recordingNetlink();
  socket.answers = [{type: 0x100, flags: 2, body: listed4}];
  const [connection] = await listConnections(socket, {family: 4, protocol: 17, dstPort: 5353});
  t.true(await removeConnection(socket, connection!));
  const {type, flags, body, what} = socket.sent[1]!;
  t.deepEqual([type, flags], [0x102, 5]);
  // As conntrack sends it, which adds what the kernel does not look at; ours adds the id, so that it is the very same.
  t.is(body.toString('hex'), ['02000000', ...orig4, '08000c001fb72442'].join('').replaceAll(' ', ''));
  t.is(what, 'forget connection 192.0.2.2:4000 to 192.0.2.1:5353');
});

// linux/netfilter/nfnetlink_conntrack.h: CTA_FILTER (25) says by bits which parts of the tuple count; 8 is the protocol, 32
// the destination port.
test('the kernel is asked to send only what may be meant', async (t) => {
  const socket = recordingNetlink();
  await listConnections(socket, {family: 6, protocol: 17, dstPort: 53});
  await listConnections(socket, {family: 4, protocol: 17});
  t.deepEqual(
    socket.sent.map(({type, flags, body}) => [type, flags, body.toString('hex')]),
    [
      [
        0x100 | 1,
        0x301,
        '0a000000180001801400028005000100110000000600030000350000' +
          '14001980' +
          '0800010028000000' +
          '0800020000000000',
      ],
      [
        0x101,
        0x301,
        '02000000100001800c0002800500010011000000' + '14001980' + '0800010008000000' + '0800020000000000',
      ],
    ],
  );
});
