import test from 'ava';
import {
  formatAnswer,
  largestAnswer,
  largestRequest,
  parseRequest,
  ProtocolError,
  requestLimits,
} from '../../../agent/cni/protocol.ts';

const names = ['release', 'name', 'cwd', 'env', 'stdin'] as const;

interface Parts {
  readonly version?: number;
  readonly fields?: Partial<Record<(typeof names)[number], Buffer>>;
}

/** Written down byte by byte: the layout is the client's as well. */
function encode({version = 1, fields = {}}: Parts = {}): Buffer {
  const fixed = Buffer.from(
    [
      '0000 1200 d2040000 07000000 00000000',
      '0500000000000000 0102030405060708',
      'f100000000000000 f200000000000000 f300000000000000 f400000000000000',
    ]
      .join('')
      .replaceAll(' ', ''),
    'hex',
  );
  fixed.writeUInt16LE(version, 0);
  const blobs = names.flatMap((name) => {
    const bytes = fields[name] ?? Buffer.from(name);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat([fixed, ...blobs]);
}

test('a request', (t) => {
  const env = Buffer.from(
    'CNI_COMMAND=ADD\0EMPTY=\0NO_VALUE\0=hidden=1\0CNI_COMMAND=DEL\0EQUAL=a=b\0LAST=umlaut \u00e4',
  );
  t.deepEqual(parseRequest(encode({fields: {env}})), {
    umask: 0o022,
    pid: 1234,
    netns: {fd: 7, device: 5n, inode: 0x0807060504030201n},
    namespaces: {net: 0xf1n, mnt: 0xf2n, pid: 0xf3n, user: 0xf4n},
    release: 'release',
    name: 'name',
    cwd: 'cwd',
    env: {CNI_COMMAND: 'ADD', EMPTY: '', '=hidden': '1', EQUAL: 'a=b', LAST: 'umlaut \u00e4'},
    stdin: 'stdin',
  });
});

test('a descriptor of -1 is no namespace', (t) => {
  const bytes = encode();
  bytes.writeInt32LE(-1, 8);
  t.is(parseRequest(bytes).netns, undefined);
});

test('another version is named', (t) => {
  t.throws(() => parseRequest(encode({version: 2})), {
    instanceOf: ProtocolError,
    message: 'version 2 of the protocol; this agent speaks 1',
  });
});

test('every field has its limit', (t) => {
  for (const name of names) {
    const limit = requestLimits[name];
    t.notThrows(() => parseRequest(encode({fields: {[name]: Buffer.alloc(limit, 'x')}})));
    t.throws(() => parseRequest(encode({fields: {[name]: Buffer.alloc(limit + 1, 'x')}})), {
      instanceOf: ProtocolError,
      message: `${name} of ${limit + 1} bytes; ${limit} are allowed`,
    });
  }
  const largest = Object.fromEntries(names.map((name) => [name, Buffer.alloc(requestLimits[name])]));
  t.is(encode({fields: largest}).length, largestRequest);
});

test('a request that is cut off anywhere, or goes on, is refused', (t) => {
  const bytes = encode();
  for (let length = 0; length < bytes.length; length++) {
    t.throws(() => parseRequest(bytes.subarray(0, length)), {instanceOf: ProtocolError}, String(length));
  }
  t.throws(() => parseRequest(Buffer.concat([bytes, Buffer.alloc(1)])), {
    instanceOf: ProtocolError,
    message: '1 bytes behind the request',
  });
});

test('an answer', (t) => {
  t.deepEqual(
    formatAnswer({exitCode: -1, stdout: '{\u00e4}', stderr: '!'}).toString('hex'),
    ['11000000 04 000000', 'ffffffff', '04000000 7bc3a47d', '01000000 21'].join('').replaceAll(' ', ''),
  );
  t.throws(() => formatAnswer({exitCode: 0, stdout: 'x'.repeat(largestAnswer), stderr: ''}), {
    instanceOf: ProtocolError,
  });
});
