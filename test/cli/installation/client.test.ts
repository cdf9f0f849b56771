import test from 'ava';
import {makeClient} from '../../../cli/installation/client.ts';
import {formatTrailer} from '../../../cli/release.ts';

const trailer = formatTrailer({version: '0.1.0', id: '0123456789abcdef'});
const magic = 'weft client configuration 1\0';
const configuration = {socket: '/run/weft/cni.sock', program: '/opt/cni/bin/.weft/0.1.0/weft', trailer};

/** Something before, the room, something behind. */
const template = Buffer.concat([
  Buffer.from('\x7fELF'),
  Buffer.from(magic),
  Buffer.alloc(1024 - magic.length),
  Buffer.from('end'),
]);

test('a client is told where the agent and the program are, and ends with the trailer', (t) => {
  const client = makeClient(template, configuration);
  t.is(client.length, template.length + trailer.length);
  const text = client.toString('latin1');
  t.is(text.slice(0, 4 + magic.length), `\x7fELF${magic}`);
  const field = (at: number) => text.slice(4 + at, text.indexOf('\0', 4 + at));
  t.is(field(32), configuration.socket);
  t.is(field(32 + 108), configuration.program);
  t.is(field(32 + 108 + 788), trailer);
  t.is(text.slice(4 + 1024), `end${trailer}`);
  t.is(template.indexOf(configuration.socket), -1);
});

test('paths that do not fit are refused, the longest that fit are not', (t) => {
  const path = (length: number) => `/${'x'.repeat(length - 1)}`;
  t.notThrows(() => makeClient(template, {...configuration, socket: path(107), program: path(787)}));
  t.throws(() => makeClient(template, {...configuration, socket: path(108)}), {
    message: /^the socket .* is too long for the native client: 108 bytes of 107$/,
  });
  t.throws(() => makeClient(template, {...configuration, program: path(788)}), {message: /^the program /});
  for (const socket of ['', 'relative', '/with\nline', '/with\x7f'])
    t.throws(
      () => makeClient(template, {...configuration, socket}),
      {message: /is not an absolute path/},
      socket,
    );
});

test('a file without one place for it is damaged', (t) => {
  for (const damaged of [Buffer.alloc(5000), Buffer.concat([template, template])])
    t.throws(() => makeClient(damaged, configuration), {
      message: /the native client in this build of weft is damaged/,
    });
});
