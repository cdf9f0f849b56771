import test from 'ava';
import {parseOptions, parts} from '../../bench/options.ts';

test('without options everything is measured, the peer as far as it takes minutes', (t) => {
  t.deepEqual(parseOptions([]), {
    peer: undefined,
    json: undefined,
    rounds: 30,
    only: [...parts],
    sizes: [300, 400, 2000],
    peerSize: 400,
  });
});

test('options', (t) => {
  const args = [
    '--peer',
    '/opt/other',
    '--json',
    'out.json',
    '--quick',
    '--only',
    'calls,full',
    '--peer-size',
    '2000',
  ];
  t.deepEqual(parseOptions(args), {
    peer: '/opt/other',
    json: 'out.json',
    rounds: 5,
    only: ['calls', 'full'],
    sizes: [300, 400],
    peerSize: 2000,
  });
  t.is(parseOptions(['--quick', '--rounds', '9']).rounds, 9);
});

test('what makes no sense is an error that says how it is meant', (t) => {
  t.throws(() => parseOptions(['--rounds', '0']), {
    message: /^--rounds: "0" is not a number above 0\n\nnpm run bench/,
  });
  t.throws(() => parseOptions(['--only', 'calls,nothing']), {message: /there is no part "nothing"/});
  t.throws(() => parseOptions(['--what']));
});
