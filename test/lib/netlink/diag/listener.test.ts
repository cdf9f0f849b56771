import test from 'ava';
import {formatIp} from '../../../../lib/ip/address.ts';
import {listListeners} from '../../../../lib/netlink/diag/listener.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

// From a capture of `ss -lnt4` while a process listened on 127.0.0.1:8080: what was asked, and the answer's struct inet_diag_msg.
const asked = Buffer.from(
  // family, protocol, extensions, states (0x480: ss takes closed ones too), then struct inet_diag_sockid
  ['02060000', '80040000', '0000', '0000', '00'.repeat(44)].join(''),
  'hex',
);
const answer = Buffer.from(
  ['020a0000', '1f90', '0000', '7f000001', '00'.repeat(44), '9715000000000000', '0000000000000000'].join(''),
  'hex',
);

test('the question is the one of ss, for sockets that listen and with a port', async (t) => {
  const socket = recordingNetlink();
  await listListeners(socket, {family: 4, protocol: 'tcp'});
  await listListeners(socket, {family: 6, protocol: 'udp', port: 53});
  const expected = Buffer.from(asked);
  expected.writeUInt32LE(0x400, 4);
  const [first, second] = socket.sent;
  t.deepEqual(
    [first!.type, first!.flags, first!.body.toString('hex')],
    [20, 0x301, expected.toString('hex')],
  );
  expected.set([10, 17], 0);
  expected.writeUInt32LE(0x80, 4);
  expected.writeUInt16BE(53, 8);
  t.is(second!.body.toString('hex'), expected.toString('hex'));
});

test('a listener is an address and a port', async (t) => {
  const socket = recordingNetlink();
  socket.answers = [{type: 20, flags: 2, body: answer}];
  const [listener] = await listListeners(socket, {family: 4, protocol: 'tcp'});
  t.is(formatIp(listener!.ip), '127.0.0.1');
  t.is(listener!.port, 8080);
});
