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
];

for (const [json, path, message] of refused)
  test(`refused: ${JSON.stringify(json)}`, (t) => {
    const error = t.throws(() => read(json), {instanceOf: ShapeError});
    t.is(error.path, path);
    t.regex(error.message, message);
  });
