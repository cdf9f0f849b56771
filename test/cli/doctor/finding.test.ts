import test from 'ava';
import {about, formatFindings} from '../../../cli/doctor/finding.ts';

test('findings are a table, with what to do below', (t) => {
  const {ok} = about('kernel');
  const {problem, warning} = about('addresses');
  t.deepEqual(formatFindings([ok('it has veth'), problem('used up', 'weft gc pods'), warning('odd')]), [
    'ok    kernel     it has veth',
    'FAIL  addresses  used up',
    '                 -> weft gc pods',
    'WARN  addresses  odd',
  ]);
});
