import test from 'ava';
import {formatDuration, parseDuration} from '../../../agent/registry/duration.ts';
import {parseRegistration, RegistryError} from '../../../agent/registry/registration.ts';
import type {Json} from '../../../lib/cni/types.ts';

const parse = (json: Json) => parseRegistration(json, {address: '192.0.2.1'});

test('times are as Go writes them', (t) => {
  t.is(parseDuration('1m30s'), 90_000);
  t.is(parseDuration('500ms'), 500);
  t.is(parseDuration('1.5h'), 5_400_000);
  t.is(parseDuration('0'), 0);
  for (const wrong of ['', '10', 's', '-1s', '1s ']) t.is(parseDuration(wrong), undefined, wrong);
  t.is(formatDuration(90_000), '1m30s');
  t.is(formatDuration(3_661_000), '1h1m1s');
  t.is(formatDuration(500), '500ms');
});

test('what is not said has a default', (t) => {
  t.deepEqual(parse({Name: 'Shop'}), {
    id: 'Shop',
    name: 'shop',
    namespace: 'default',
    address: '192.0.2.1',
    port: 0,
    protocol: 'tcp',
    tags: [],
    meta: {},
    weight: 1,
    warningWeight: 1,
    checks: [],
    draining: false,
  });
});

test('everything that is said counts', (t) => {
  const registration = parse({
    ID: 'shop-1',
    Name: 'shop',
    Namespace: 'team',
    Address: 'FD00::5',
    Port: 8080,
    Protocol: 'TCP',
    Network: 'net1',
    Tags: ['a'],
    Meta: {Version: '1'},
    Weights: {Passing: 5, Warning: 2},
    Check: {HTTP: 'http://[fd00::5]:8080/health', Interval: '10s', Timeout: '2s', Header: {Host: ['shop']}},
    Checks: [{CheckID: 'beat', TTL: '30s', Status: 'passing', DeregisterCriticalServiceAfter: '5m'}],
  });
  t.like(registration, {
    id: 'shop-1',
    namespace: 'team',
    address: 'fd00::5',
    port: 8080,
    network: 'net1',
    meta: {Version: '1'},
    weight: 5,
    warningWeight: 2,
  });
  const [http, beat] = registration.checks;
  t.like(http, {
    id: 'service:shop-1:1',
    intervalMs: 10_000,
    timeoutMs: 2000,
    initial: 'critical',
    header: {Host: ['shop']},
  });
  t.like(beat, {id: 'beat', ttlMs: 30_000, initial: 'passing', deregisterAfterMs: 300_000});
});

const refuses = test.macro({
  title: (_, json: Json) => `refuses ${JSON.stringify(json)}`,
  exec(t, json: Json, message: RegExp) {
    const error = t.throws(() => parse(json), {instanceOf: RegistryError, message});
    t.is(error?.code, 400);
  },
});

test(refuses, {}, /"Name"/);
test(refuses, {Name: 'a b'}, /"Name": "a b" is no name/);
test(refuses, {Name: 'a.b'}, /it has a dot/);
test(refuses, {Name: 'a', ID: '../x'}, /"ID": "\.\.\/x"/);
test(refuses, {Name: 'a', Port: 70_000}, /"Port": 70000 is no port/);
test(refuses, {Name: 'a', Address: 'host.example'}, /"Address": "host\.example" is no IP address/);
test(refuses, {Name: 'a', Protocol: 'x'}, /"Protocol": "x" is none of/);
test(refuses, {Name: 'a', Weights: {Passing: -1}}, /"Weights\.Passing": -1 is no weight/);
test(refuses, {Name: 'a', Meta: {x: 1}}, /"Meta": expected texts/);
test(refuses, {Name: 'a', Check: {TCP: '10.0.0.1:80', HTTP: 'http://x'}}, /exactly one of/);
test(refuses, {Name: 'a', Check: {TCP: '10.0.0.1:80'}}, /needs "Interval"/);
test(refuses, {Name: 'a', Check: {TCP: 'x', Interval: '1s'}}, /"TCP": "x": expected an address and a port/);
test(refuses, {Name: 'a', Check: {HTTP: 'ftp://x', Interval: '1s'}}, /"HTTP": "ftp:\/\/x" is no URL/);
test(refuses, {Name: 'a', Check: {TTL: 'soon'}}, /"TTL": "soon" is no time/);
