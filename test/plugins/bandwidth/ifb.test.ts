import test from 'ava';
import {ifbNames} from '../../../plugins/bandwidth/ifb.ts';

test("the first name is the reference's, the second is of the interface", (t) => {
  const owner = {network: 'mynet', containerId: 'cid1', ifName: 'eth0'};
  const [first, second] = ifbNames(owner);
  t.is(first, 'bwpa631aa8e1549');
  t.is(second.length, 15);
  const other = ifbNames({...owner, ifName: 'eth1'});
  t.is(other[0], first);
  t.not(other[1], second);
});
