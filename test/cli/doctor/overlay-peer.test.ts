import test from 'ava';
import {judgePeer} from '../../../cli/doctor/overlay-peer.ts';

const peer = {id: 'node-b', subnets: ['10.244.2.0/24'], underlay: ['192.0.2.2']};

test('what the agent says of a peer', (t) => {
  t.deepEqual(judgePeer('pods', {...peer, state: 'programmed'}), []);
  t.like(judgePeer('pods', {...peer, state: 'failed', error: 'EPERM'})[0], {
    severity: 'problem',
    subject: 'overlay pods',
    message: 'peer node-b: the kernel refuses it: EPERM',
  });
  const [leftOut] = judgePeer('pods', {
    ...peer,
    state: 'left out',
    error: 'node-b claims the subnet 10.244.2.0/24, which belongs to node-a',
  });
  t.is(
    leftOut?.message,
    'peer node-b is left out: node-b claims the subnet 10.244.2.0/24, which belongs to node-a',
  );
  t.regex(leftOut?.remedy ?? '', /of two records remove the wrong one/);
});
