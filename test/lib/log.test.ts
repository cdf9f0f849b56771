import {mkdtempSync, readFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {openLog} from '../../lib/log.ts';

test('a line is in the file when the call returns, with what every line carries', (t) => {
  const file = join(mkdtempSync(join(tmpdir(), 'weft-log-')), 'sub', 'weft.log');
  const log = openLog({level: 'info', file, bindings: {plugin: 'bridge'}});
  log.info({mtu: 1500, error: new Error('EBUSY')}, 'link made');
  log.debug('not said');
  const [line, rest] = readFileSync(file, 'utf8').split('\n');
  t.like(JSON.parse(line!), {level: 30, plugin: 'bridge', pid: process.pid, mtu: 1500, msg: 'link made'});
  t.is((JSON.parse(line!) as {error: {message: string}}).error.message, 'EBUSY');
  t.is(rest, '');
});

test('a file that cannot be opened throws', (t) => {
  t.throws(() => openLog({level: 'info', file: '/proc/no/such'}));
});

test('a silent log takes everything and says nothing', (t) => {
  const log = openLog({level: 'silent', file: '/proc/no/such'});
  t.notThrows(() => {
    for (const level of ['fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const) log[level]('x');
  });
});
