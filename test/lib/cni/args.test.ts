import test from 'ava';
import {parseArgs} from '../../../lib/cni/args.ts';
import type {CniError} from '../../../lib/cni/error.ts';

const reads = test.macro((t, text: string, expected: object) => {
  t.deepEqual(parseArgs(text, ['IP', 'MAC']), expected);
});

test('nothing', reads, '', {});
test('a pair', reads, 'IP=10.0.0.2', {IP: '10.0.0.2'});
test('several pairs', reads, 'IP=10.0.0.2;MAC=aa', {IP: '10.0.0.2', MAC: 'aa'});
test('an empty value', reads, 'IP=', {IP: ''});
test('the last of several counts', reads, 'IP=a;IP=b', {IP: 'b'});
test('unknown keys after IgnoreUnknown=1', reads, 'IgnoreUnknown=1;K8S_POD_NAME=x;IP=a', {IP: 'a'});
test('unknown keys before IgnoreUnknown=TRUE', reads, 'K8S_POD_NAME=x;IgnoreUnknown=TRUE', {});
test('another case is another key', reads, 'ip=a;IgnoreUnknown=true', {});
test('keys of every object are unknown', reads, 'toString=a;__proto__=b;IgnoreUnknown=1', {});

const refuses = test.macro((t, text: string, message: string) => {
  const error = t.throws<CniError>(() => parseArgs(text, ['IP']));
  t.is(error?.message, `ARGS: ${message}`);
  t.is(error?.code, 4);
});

test('refuses a word', refuses, 'FOO', 'invalid pair "FOO"');
test('refuses an empty pair', refuses, 'IP=a;', 'invalid pair ""');
test('refuses two signs', refuses, 'IP=a=b', 'invalid pair "IP=a=b"');
test('refuses unknown keys', refuses, 'FOO=BAR;IP=a;BAZ=q', 'unknown args ["FOO=BAR" "BAZ=q"]');
test(
  'refuses unknown keys with IgnoreUnknown=0',
  refuses,
  'FOO=BAR;IgnoreUnknown=0',
  'unknown args ["FOO=BAR"]',
);
test(
  'refuses another word for a flag',
  refuses,
  'IgnoreUnknown=Maybe',
  'error parsing value of pair "IgnoreUnknown=Maybe": boolean unmarshal error: invalid input maybe',
);
