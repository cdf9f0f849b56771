import test from 'ava';
import {findServiceManager} from '../../../agent/lifecycle/notify.ts';

function find(env: Readonly<Record<string, string>>) {
  const sent: [string, string][] = [];
  const send = (to: string, text: string) => void sent.push([to, text]);
  return {manager: findServiceManager(env, {pid: 42, send}), sent};
}

test('the manager that started us hears of it', (t) => {
  for (const socket of ['/run/systemd/notify', '@abstract']) {
    const {manager, sent} = find({NOTIFY_SOCKET: socket});
    manager.notify('READY=1', 'STATUS=serving');
    t.deepEqual(sent, [[socket, 'READY=1\nSTATUS=serving']]);
  }
});

test('without one nobody does', (t) => {
  for (const env of [{}, {NOTIFY_SOCKET: ''}, {NOTIFY_SOCKET: 'vsock:2:1'}]) {
    const {manager, sent} = find(env);
    manager.notify('READY=1');
    t.deepEqual(sent, []);
    t.is(manager.watchdogMs, undefined);
  }
});

test('one that does not listen any more is no reason to stop', (t) => {
  const send = () => {
    throw new Error('ECONNREFUSED');
  };
  t.notThrows(() => findServiceManager({NOTIFY_SOCKET: '/x'}, {send}).notify('READY=1'));
});

test('signs of life are for the process they are asked of', (t) => {
  const asked = {NOTIFY_SOCKET: '/x', WATCHDOG_USEC: '30000000'};
  t.is(find(asked).manager.watchdogMs, 30_000);
  t.is(find({...asked, WATCHDOG_PID: '42'}).manager.watchdogMs, 30_000);
  t.is(find({...asked, WATCHDOG_PID: '43'}).manager.watchdogMs, undefined);
  t.is(find({...asked, WATCHDOG_USEC: 'x'}).manager.watchdogMs, undefined);
});
