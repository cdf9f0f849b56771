import test from 'ava';
import {hasBrokenChecksums} from '../../../lib/overlay/checksum.ts';

test('kernels that spoil checksums', (t) => {
  for (const kernel of ['3.10.0-1160.el7.x86_64', '4.18.0-553.el8_10', '5.4.0-150-generic', '5.6.19'])
    t.true(hasBrokenChecksums(kernel), kernel);
  for (const kernel of ['5.7.0', '5.10.0-28-amd64', '6.1.0-18-amd64', '6.18.44-fc', '10.0'])
    t.false(hasBrokenChecksums(kernel), kernel);
});
