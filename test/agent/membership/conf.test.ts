import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import test from 'ava';
import {createMembership, membershipShape} from '../../../agent/membership/conf.ts';
import {prepareShape, readShape, ShapeError} from '../../../lib/cni/shape.ts';
import type {Json} from '../../../lib/cni/types.ts';
import {keepLog} from '../../helpers/membership-recorder.ts';

const shape = prepareShape(membershipShape);
const read = (json: Json) =>
  readShape(shape, json, (path, key) => {
    throw new ShapeError(path, `unknown ${key}`, {isOwnSentence: true});
  });

test('a type and its keys make a membership', (t) => {
  const conf = read({type: 'static', file: '/etc/weft/pods.json'});
  t.is(conf.type, 'static');
  const membership = createMembership(conf, {
    nodeId: 'a',
    network: {name: 'pods', form: 'routed'},
    log: keepLog(t),
  });
  t.is(membership.kind, 'static');
  t.deepEqual(membership.state, {kind: 'starting', reason: 'not started'});
});

const refused: readonly (readonly [Json, string, RegExp])[] = [
  [{file: '/a'}, 'type', /^expected one of "static", .*found nothing/],
  [{type: 'consul'}, 'type', /^expected one of "static", .*found "consul"/],
  [{type: 'static'}, 'file', /^expected a string, found nothing/],
  [{type: 'static', file: 'pods.json'}, 'file', /^expected a path/],
  [{type: 'static', file: '/a', pollMs: 0}, 'pollMs', /^expected at least 10, found 0/],
  [{type: 'static', file: '/a', fiel: '/b'}, 'fiel', /^unknown fiel/],
  [
    {type: 'static', file: '/a', prefix: '/b'},
    'prefix',
    /^"prefix" means nothing for type "static", which knows file/,
  ],
  [{type: 'etcd'}, 'endpoints', /^expected a list, found nothing/],
  [{type: 'etcd', endpoints: []}, 'endpoints', /^expected at least 1/],
  [{type: 'etcd', endpoints: ['10.0.0.1:2379']}, 'endpoints[0]', /^expected a URL as "http:/],
  [{type: 'etcd', endpoints: ['http://a:1/v2']}, 'endpoints[0]', /^expected a URL/],
  [
    {type: 'etcd', endpoints: ['http://root:secret@a:1']},
    'endpoints[0]',
    /^expected a URL .*without a user(?!.*secret)/,
  ],
  [
    {type: 'kubernetes', server: 'https://root:secret@a:1'},
    'server',
    /^expected a URL, without a user(?!.*secret)/,
  ],
  [{type: 'etcd', endpoints: ['http://a:1'], prefix: 'network/'}, 'prefix', /^expected a path as/],
  [{type: 'kubernetes', network: '10.244'}, 'network', /^"10.244" is not a range/],
  [{type: 'kubernetes', annotationPrefix: 'x'}, 'annotationPrefix', /^expected a prefix that ends in/],
];

for (const [json, path, message] of refused)
  test(`refused: ${JSON.stringify(json)}`, (t) => {
    const error = t.throws(() => read(json), {instanceOf: ShapeError});
    t.is(error.path, path);
    t.regex(error.message, message);
  });

const unworkable: readonly (readonly [Json, 'routed' | 'l2', RegExp])[] = [
  [{type: 'etcd', endpoints: ['http://a:1'], user: 'x'}, 'routed', /user and passwordFile belong together/],
  [
    {type: 'etcd', endpoints: ['http://a:1'], keyFile: '/x'},
    'routed',
    /certFile and keyFile belong together/,
  ],
  [{type: 'etcd', endpoints: ['http://a:1'], aliveTtlS: 1}, 'routed', /aliveTtlS: 1 is shorter/],
  [{type: 'kubernetes', server: 'http://a:1'}, 'routed', /network is missing; give the cluster CIDR/],
  [{type: 'kubernetes', network: ['10.1.0.0/16', '10.2.0.0/16']}, 'routed', /none or two of one family/],
  [
    {type: 'kubernetes', network: '10.1.0.0/16', netConfFile: '/x'},
    'routed',
    /network is in netConfFile already/,
  ],
  [{type: 'kubernetes', network: '10.1.0.0/16'}, 'l2', /nodes say nothing of single containers/],
];

for (const [json, form, message] of unworkable)
  test(`can never work: ${form} ${JSON.stringify(json)}`, (t) => {
    const context = {nodeId: 'a', network: {name: 'pods', form}, log: keepLog(t)};
    t.throws(() => createMembership(read(json), context), {message});
  });

test("flannel's net-conf.json says what the network is", (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), 'weft-net-conf-'));
  t.teardown(() => rmSync(directory, {recursive: true, force: true}));
  const netConfFile = path.join(directory, 'net-conf.json');
  writeFileSync(netConfFile, '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "VNI": 7}}');
  const conf = read({type: 'kubernetes', netConfFile, server: 'http://127.0.0.1:1'});
  const context = {nodeId: 'a', network: {name: 'pods', form: 'routed'} as const, log: keepLog(t)};
  t.is(createMembership(conf, context).kind, 'kubernetes');
});
