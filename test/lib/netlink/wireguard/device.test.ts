import test from 'ava';
import {formatIp, parseIp} from '../../../../lib/ip/address.ts';
import {formatCidr, parseCidr} from '../../../../lib/ip/cidr.ts';
import {getFamily} from '../../../../lib/netlink/generic/socket.ts';
import {
  changeWireguard,
  getWireguard,
  wireguardMessage,
  wireguardRequests,
  type WireguardChange,
} from '../../../../lib/netlink/wireguard/device.ts';
import {readCaptures, type CapturedMessage} from '../../../helpers/captures.ts';
import {recordingNetlink} from '../../../helpers/recording-netlink.ts';

// What `wg` of Debian 12 sent and the kernel answered; capture-wireguard.sh made the file.
const {sentBy, answersTo, commands} = readCaptures('wireguard-captures.txt');

const key = (digit: number) => Buffer.from(String(digit).padStart(32, '0'));
const peer2 = Buffer.from('R2VvX2tjOAXl0HzTaXsw8+f8FS23Sz9BJPXCVtPKJHc=', 'base64');
const peer3 = Buffer.from('LE7j3kPe1eQnCu7DCOumzGF4UKz3kh3RSZrl78HUjHM=', 'base64');
const name = 'wg0';
const cidrs = (...texts: string[]) => texts.map((text) => parseCidr(text)!);
const read = ({body}: CapturedMessage) => wireguardMessage.get(body, 0, body.length);
const two = peer2.toString('base64');
const three = peer3.toString('base64');

const changes: Readonly<Record<string, WireguardChange>> = {
  'wg set wg0 listen-port 51872 private-key one': {port: 51_872, privateKey: key(1)},
  [`wg set wg0 peer ${two} preshared-key three endpoint 192.0.2.2:51872 allowed-ips fd00:1::2/128,10.9.2.0/24`]:
    {
      set: [
        {
          publicKey: peer2,
          presharedKey: key(3),
          endpoint: {ip: parseIp('192.0.2.2')!, port: 51_872},
          allowedIps: cidrs('fd00:1::2/128', '10.9.2.0/24'),
        },
      ],
    },
  [`wg set wg0 peer ${three} endpoint [2001:db8::3]:51873 allowed-ips fd00:1::3/128`]: {
    set: [
      {
        publicKey: peer3,
        endpoint: {ip: parseIp('2001:db8::3')!, port: 51_873},
        allowedIps: cidrs('fd00:1::3/128'),
      },
    ],
  },
  [`wg set wg0 peer ${three} remove`]: {remove: [peer3]},
};

for (const [command, change] of Object.entries(changes)) {
  test(`says what "${command}" says`, async (t) => {
    const expected = sentBy(command);
    const socket = recordingNetlink();
    await changeWireguard(socket, {family: expected.type, name}, change);
    t.is(socket.sent.length, 1);
    const [sent] = socket.sent;
    t.is(sent!.type, expected.type);
    t.is(sent!.flags, expected.flags);
    t.is(sent!.body.length, expected.body.length);
    t.deepEqual(read(sent!), read(expected));
  });
}

test('every captured request is compared', (t) => {
  t.deepEqual(Object.keys(changes).sort(), [...commands].sort());
});

test('a device with its peers', async (t) => {
  const socket = recordingNetlink();
  const {type} = sentBy(commands[0]!);
  socket.answers = answersTo('wg show wg0 dump').filter((message) => message.type === type);
  t.true(socket.answers.length > 0);
  const device = await getWireguard(socket, {family: type, name});
  t.is(device.port, 51_872);
  t.true(device.ifindex > 0);
  t.deepEqual(
    device.peers.map(({publicKey, presharedKey, endpoint, allowedIps, lastHandshake}) => [
      Buffer.from(publicKey).toString('base64'),
      Buffer.from(presharedKey!).toString(),
      `${formatIp(endpoint!.ip)} ${endpoint!.port}`,
      allowedIps.map(formatCidr).sort(),
      lastHandshake,
    ]),
    [
      [two, key(3).toString(), '192.0.2.2 51872', ['10.9.2.0/24', 'fd00:1::2/128'], 0],
      [three, '\0'.repeat(32), '2001:db8::3 51873', ['fd00:1::3/128'], 0],
    ],
  );
});

test('the number of a family', async (t) => {
  const socket = recordingNetlink();
  socket.answers = answersTo('wg show wg0 dump').filter((message) => message.type === 16);
  t.is(await getFamily(socket, 'wireguard'), sentBy(commands[0]!).type);
});

test('many peers are several messages, the device is told once', (t) => {
  const set = Array.from({length: 450}, (_, i) => ({
    publicKey: Buffer.alloc(32, i),
    presharedKey: Buffer.alloc(32, i),
    endpoint: {ip: parseIp('2001:db8::1')!, port: 1},
    allowedIps: cidrs('fd00::1/128'),
  }));
  const socket = recordingNetlink();
  const requests = wireguardRequests({family: 32, name}, {port: 7, set});
  return Promise.all(requests.map((request) => socket.request(request))).then(() => {
    const attributes = socket.sent.map((each) => read(each).attributes);
    t.deepEqual(
      attributes.map(({port, peers}) => [port, peers?.length]),
      [
        [7, 200],
        [undefined, 200],
        [undefined, 50],
      ],
    );
  });
});
