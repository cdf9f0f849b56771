import test from 'ava';
import {firstLineLimit, formatStub} from '../../cli/stub.ts';
import {formatTrailer} from '../../cli/release.ts';

const trailer = formatTrailer({version: '0.1.0', id: '0123456789abcdef'});

test('a stub calls the program with --plugin and ends with the trailer', (t) => {
  const stub = formatStub({program: '/opt/cni/bin/.weft/0.1.0/weft', trailer});
  t.is(stub, '#!/opt/cni/bin/.weft/0.1.0/weft --plugin\n# weft 0.1.0 0123456789abcdef\n');
});

test('a path that a kernel before 5.1 would cut is refused, the longest one that fits is not', (t) => {
  const program = (length: number) => `/${'x'.repeat(length - 1)}`;
  const longest = firstLineLimit - '#! --plugin'.length;
  t.notThrows(() => formatStub({program: program(longest), trailer}));
  t.throws(() => formatStub({program: program(longest + 1), trailer}), {
    message: /choose a shorter --bin-dir/,
  });
});

for (const program of ['relative/weft', '/with space/weft', '/with\nline/weft', '']) {
  test(`${JSON.stringify(program)} is refused`, (t) => {
    t.throws(() => formatStub({program, trailer}), {message: /cannot be called by a script/});
  });
}
