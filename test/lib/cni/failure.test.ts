import test from 'ava';
import {CniError} from '../../../lib/cni/error.ts';
import {describeFailure} from '../../../lib/cni/failure.ts';

test('details follow the message', (t) => {
  t.is(describeFailure(new CniError(7, 'bad', 'mend it')), 'bad; mend it');
  t.is(describeFailure(new Error('ADD', {cause: new CniError(7, 'bad', 'mend it')})), 'ADD: bad; mend it');
});

test('errors without a message still say something', (t) => {
  t.is(describeFailure(new TypeError()), 'TypeError');
  t.is(describeFailure(undefined), 'undefined');
});

test('errors of one code in a clean-up keep it, with the details of each', (t) => {
  const error = new AggregateError([
    new CniError(5, 'a', 'x'),
    new Error('b', {cause: new CniError(5, 'c', 'y')}),
  ]);
  t.is(describeFailure(error), 'a (x); b: c (y)');
});

test('the only error of a clean-up is as if it came alone', (t) => {
  t.is(describeFailure(new AggregateError([new CniError(5, 'a', 'x')], 'clean up')), 'clean up: a; x');
});
