import test from 'ava';
import {parseResolvConf} from '../../../plugins/host-local/resolv-conf.ts';

const reads = test.macro((t, text: string, expected: object) => {
  t.deepEqual(parseResolvConf(text), expected);
});

test(
  'reads every keyword',
  reads,
  'nameserver 192.0.2.1\nnameserver 2001:db8::1\ndomain a.test\nsearch a.test b.test\noptions ndots:5 edns0\n',
  {
    nameservers: ['192.0.2.1', '2001:db8::1'],
    domain: 'a.test',
    search: ['a.test', 'b.test'],
    options: ['ndots:5', 'edns0'],
  },
);
test(
  'passes over comments, empty lines and keywords without a value',
  reads,
  '# a\n; b\n\n  \nnameserver\nnameserver # x\n #nameserver 1.1.1.1\n',
  {
    nameservers: ['#'],
  },
);
test('white space around and between does not matter', reads, ' \tnameserver\t 192.0.2.1 ignored \r\n', {
  nameservers: ['192.0.2.1'],
});
test(
  'a later domain wins; searches and options add up',
  reads,
  'domain a\ndomain b\nsearch a\nsearch b c\noptions x\noptions y',
  {
    domain: 'b',
    search: ['a', 'b', 'c'],
    options: ['x', 'y'],
  },
);
test('unknown keywords are ignored', reads, 'sortlist 192.0.2.0\nlookup file bind', {});
test('an empty file is no DNS', reads, '', {});
